"""Real files of many makers: as many records as an independent count, and every file read or named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from cradle.installation import Dialect, Source
from dlt_pipelines.reading.answer import Reading
from dlt_pipelines.reading.look import DOCUMENTS, FORMATS
from dlt_pipelines.reading.sniff import sniff
from tests.reading import parse

pytestmark = pytest.mark.integration


def files(corpus: Path, *kinds: str) -> list[tuple[Path, str]]:
    found = [(path, FORMATS.get(path.suffix.lower(), "")) for path in sorted(corpus.rglob("*")) if path.is_file()]
    return [(path, kind) for path, kind in found if kind in kinds]


def read(path: Path, kind: str, dialect: Dialect) -> Reading:
    source = Source(name="s", role="r", format=kind, files=("*",), dialect=dialect)  # type: ignore[arg-type]
    found = parse(path, source, path.name)
    assert found.rows_read == found.rows_accepted + found.rows_rejected
    return found


def counted(path: Path, dialect: Dialect) -> int:
    """Count records with Python's csv module, as text decoded at once."""
    text = path.read_bytes().decode(dialect.encoding, errors="replace").removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
    header, count = 0, 0
    for row in reader:
        if not header:
            header = len(row) if reader.line_num >= dialect.header_row else 0
        elif row and (len(row) > 1 or header == 1 or row[0].strip(" ")):
            count += 1
    return count


def test_every_record_of_every_csv_is_accepted_or_named(corpus: Path) -> None:
    unclosed, compared = [], 0
    for path, kind in files(corpus, "csv"):
        dialect = sniff(path, kind)
        found = read(path, kind, dialect or Dialect())
        reasons = set(found.rejects.column("reason").to_pylist())
        if dialect is None:
            assert reasons & {"empty_file", "bad_encoding"}, path
        elif "broken_quote" in reasons:  # Python's reader swallows the lines after it
            unclosed.append(path.name)
        elif "file" not in found.rejects.column("scope").to_pylist():
            assert found.rows_read == counted(path, dialect), path
            compared += 1
    assert compared >= 110
    assert len(unclosed) <= 3


def test_every_document_becomes_a_row_or_a_named_reject(corpus: Path) -> None:
    found = {path: read(path, kind, Dialect(fallback_encoding="cp1252")) for path, kind in files(corpus, *DOCUMENTS)}
    assert len(found) >= 50
    assert all(one.rows_read == 1 for one in found.values())
    assert sum(one.rows_rejected for one in found.values()) <= 3


def test_every_json_of_objects_is_read_whole(corpus: Path) -> None:
    for path, kind in files(corpus, "json", "jsonl"):
        dialect = sniff(path, kind)
        assert dialect is not None, path
        found = read(path, kind, dialect)
        assert found.rows_accepted > 0 or found.rejects.num_rows > 0, path
