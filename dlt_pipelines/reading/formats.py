"""Which parser reads which format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from cradle.installation import Source
from dlt_pipelines.reading.answer import write_answer
from dlt_pipelines.reading.parsed import Rejects


def parse(path: Path, source: Source, source_file: str, folder: Path, **more: object) -> None:
    """Parse one file as its source says and write the answer to a folder."""
    rejects, notes = Rejects(source_file), list[str]()
    write_answer(folder, source, _tables(path, source, rejects, notes), rejects, notes, **more)


def _tables(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Give a file's rows, part by part; only the parser that is needed is imported."""
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
    return parser(path, source, rejects, notes)
