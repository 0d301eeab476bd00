"""Tells the dialect of a text file: encoding, delimiter, header row, place of the records."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from cradle.installation import Dialect

DELIMITERS = (",", ";", "\t", "|")
SAMPLE = 1 << 20  # bytes by which delimiter and header are told; types look at all values


def sniff(path: Path, kind: str) -> Dialect | None:
    """Pin encoding, delimiter, header row; the rest follows from the values."""
    if kind in ("xlsx", "parquet"):
        return Dialect()
    data = path.read_bytes()
    encoding = _encoding(data)
    if encoding is None or not data.strip():
        return None
    if kind == "json":
        return Dialect(encoding=encoding, records=_records_key(data.decode(encoding)))
    if kind == "jsonl":
        return Dialect(encoding=encoding)
    sample = data.decode(encoding)[:SAMPLE]
    delimiter = max(DELIMITERS, key=lambda sign: _regularity(sample, sign))
    return Dialect(encoding=encoding, delimiter=delimiter, header_row=_header_row(sample, delimiter))


def _encoding(data: bytes) -> str | None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for encoding in ("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8", "cp1252", "latin-1"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding.removesuffix("-sig")
    return None


def _lines(sample: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    rows = []
    try:
        for row in reader:
            if any(row):
                rows.append(row)
            if len(rows) == 200:
                break
    except csv.Error:
        return rows
    return rows


def _regularity(sample: str, delimiter: str) -> tuple[float, int]:
    """Score a delimiter: share of lines with the usual number of fields, then that number."""
    counts = [len(row) for row in _lines(sample, delimiter)]
    usual = max(set(counts), key=counts.count, default=1)
    return (counts.count(usual) / len(counts) if usual > 1 else 0.0, usual)


def _header_row(sample: str, delimiter: str) -> int:
    """Return the line of the header: the first with as many filled fields as most lines have."""
    rows = _lines(sample, delimiter)
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=widths.count, default=1)
    for row in rows[:10]:
        if len(row) == usual and sum(bool(cell.strip()) for cell in row) >= max(1, usual * 0.6):
            for number, line in enumerate(sample.splitlines(), 1):
                if line.strip() and line.lstrip('"').startswith(row[0][:20]):
                    return number
    return 1


def _records_key(text: str) -> str | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if isinstance(document, dict):
        lists = [
            key for key, value in document.items() if isinstance(value, list) and value and isinstance(value[0], dict)
        ]
        if len(lists) == 1:
            return lists[0]
    return None
