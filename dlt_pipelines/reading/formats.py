"""Which parser reads which format."""

from __future__ import annotations

from pathlib import Path

from cradle.installation import Source
from dlt_pipelines.reading.parsed import Parsed


def parse(path: Path, source: Source, source_file: str) -> Parsed:
    """Parse one file as its source says; only the parser that is needed is imported."""
    if source.format == "csv":
        from dlt_pipelines.reading.delimited import parse_csv as parser
    elif source.format == "xlsx":
        from dlt_pipelines.reading.spreadsheet import parse_workbook as parser
    elif source.format == "json":
        from dlt_pipelines.reading.structured import parse_json as parser
    elif source.format == "jsonl":
        from dlt_pipelines.reading.structured import parse_jsonl as parser
    elif source.format == "parquet":
        from dlt_pipelines.reading.structured import parse_parquet as parser
    else:
        from dlt_pipelines.reading.documents import parse_document as parser
    return parser(path, source, source_file)
