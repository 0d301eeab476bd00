"""CSV with a pinned dialect: every cell as text, every record accounted for.

A file in which each record is one line is parsed by Arrow. Records over several lines, and broken quotes, take a slower
way with Python's csv module, which knows the line at which a record begins.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from cradle.installation import Dialect, Source
from dlt_pipelines.reading.airlock import empty_rows
from dlt_pipelines.reading.parsed import Parsed, Rejects, check_headers, finish, map_columns, unique_headers

VALUE_CHARS = 500  # of a bad line that go into the rejects
SPAN_LINES = 1000  # a quoted field over more lines is taken for an unclosed quote


def parse_csv(path: Path, source: Source, source_file: str) -> Parsed:
    """Parse one CSV file."""
    rejects, notes = Rejects(source_file), list[str]()
    lines = _lines(path.read_bytes(), source.dialect, rejects, notes)
    blank = empty_rows(tuple(column.name for column in source.columns))
    header, body = _header(lines, source.dialect)
    if header is None:
        rejects.add("file", "empty_file", "the file holds no header and no record")
        return finish(source, blank, rejects, notes)
    check_headers(source, header, rejects, notes)
    if rejects.whole_file:
        return finish(source, blank, rejects, notes)
    if not body:
        notes.append(f"{source_file}: a header, but no record")
        return finish(source, blank, rejects, notes)
    names = unique_headers(header)
    quote = (source.dialect.quote or "").encode()
    one_line_each = not quote or not any(line.count(quote) % 2 for _, line in body)
    read = _by_arrow if one_line_each else _by_module
    table, numbers = read(body, names, source.dialect, rejects)
    return finish(source, map_columns(source, table, numbers, None), rejects, notes)


def _lines(data: bytes, dialect: Dialect, rejects: Rejects, notes: list[str]) -> list[tuple[int, bytes]]:
    """Return (line number, UTF-8 bytes) of each line that is not blank; lines that can't be read become rejects."""
    data, encoding = _without_mark(data, dialect.encoding)
    fallback = dialect.fallback_encoding
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8") or not _decodes(data, "utf-8"):
        if _decodes(data, encoding):
            data = data.decode(encoding).encode()
        elif fallback and _decodes(data, fallback):
            notes.append(f"{rejects.source_file}: not {encoding}, read as {fallback}")
            data = data.decode(fallback).encode()
        else:
            return _mixed(data, encoding, rejects)
    return _without_nul(_split(data), rejects)


def _without_mark(data: bytes, encoding: str) -> tuple[bytes, str]:
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:], "utf-8"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data, "utf-16"
    return data, encoding


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _split(data: bytes) -> list[tuple[int, bytes]]:
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    return [(at, line.removesuffix(b"\r")) for at, line in enumerate(data.split(b"\n"), 1) if line.strip()]


def _mixed(data: bytes, encoding: str, rejects: Rejects) -> list[tuple[int, bytes]]:
    """Keep the lines that decode; each other one is a reject."""
    good = []
    for number, line in _split(data):
        if _decodes(line, encoding):
            good.append((number, line.decode(encoding).encode()))
        else:
            message = (
                f"not {encoding}: {line[:60]!r}. Name the file's encoding in the dialect, or deliver it in one encoding"
            )
            value = line.decode(encoding, errors="backslashreplace")[:VALUE_CHARS]
            rejects.add("row", "bad_encoding", message, row_number=number, value=value)
    return _without_nul(good, rejects)


def _without_nul(lines: list[tuple[int, bytes]], rejects: Rejects) -> list[tuple[int, bytes]]:
    bad = [(number, line) for number, line in lines if b"\0" in line]
    for number, line in bad:
        value = line.decode().replace("\0", "\\0")[:VALUE_CHARS]
        rejects.add("row", "nul_byte", "the line holds a NUL byte", row_number=number, value=value)
    return [item for item in lines if b"\0" not in item[1]] if bad else lines


def _header(lines: list[tuple[int, bytes]], dialect: Dialect) -> tuple[list[str] | None, list[tuple[int, bytes]]]:
    """Split off the header; it may span lines when its quotes say so."""
    rest = [item for item in lines if item[0] >= dialect.header_row]
    if not rest:
        return None, []
    text, used = "", 0
    quote = dialect.quote or "\0"
    for _, line in rest[:50]:
        text += ("\n" if used else "") + line.decode()
        used += 1
        if text.count(quote) % 2 == 0:
            break
    (header,) = csv.reader(io.StringIO(text), **_format(dialect))
    return header, rest[used:]


def _format(dialect: Dialect) -> dict[str, object]:
    quoting = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    return {"delimiter": dialect.delimiter, "quotechar": dialect.quote or None, "quoting": quoting}


def _by_arrow(
    body: list[tuple[int, bytes]], names: list[str], dialect: Dialect, rejects: Rejects
) -> tuple[pa.Table, pa.Array]:
    bad: list[int] = []

    def skip(row: pacsv.InvalidRow) -> str:
        bad.append(row.number - 1)
        return "skip"

    table = pacsv.read_csv(
        pa.BufferReader(b"\n".join(line for _, line in body) + b"\n"),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=names, block_size=1 << 24),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            double_quote=bool(dialect.quote),
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )
    numbers = np.fromiter((number for number, _ in body), dtype=np.int64, count=len(body))
    for at in bad:
        _ragged(body[at][1].decode(), body[at][0], len(names), rejects)
    kept = np.delete(numbers, bad)
    if len(kept) != table.num_rows:
        raise ValueError(f"{table.num_rows} records parsed where {len(kept)} lines stand")
    return table, pa.array(kept)


def _ragged(line: str, number: int, expected: int, rejects: Rejects, found: int | None = None) -> None:
    fields = f"{found} fields" if found is not None else "another number of fields"
    message = f"{fields} where the header has {expected}. Quote the delimiter, or complete the line"
    rejects.add("row", "ragged_row", message, row_number=number, value=line[:VALUE_CHARS])


def _by_module(
    body: list[tuple[int, bytes]], names: list[str], dialect: Dialect, rejects: Rejects
) -> tuple[pa.Table, pa.Array]:
    """Parse records that may span lines; a quote that never closes costs its own line, not the rest of the file."""
    lines = [line.decode() + "\n" for _, line in body]
    records: list[list[str]] = []
    numbers: list[int] = []
    at = 0
    while at < len(lines):
        record, used, closed = _record(lines, at, dialect)
        number = body[at][0]
        if not closed:
            message = "a quote is opened and never closed. Close it, or double a quote that belongs to the value"
            rejects.add("row", "broken_quote", message, row_number=number, value=lines[at][:VALUE_CHARS].rstrip())
            at += 1
        elif len(record) != len(names):
            _ragged(lines[at].rstrip("\n"), number, len(names), rejects, len(record))
            at += 1
        else:
            records.append(record)
            numbers.append(number)
            at += used
    columns = zip(*records, strict=True) if records else ([] for _ in names)
    arrays = [pa.array(list(column), pa.string()) for column in columns]
    return pa.table(arrays, names=names), pa.array(numbers, pa.int64())


def _record(lines: list[str], at: int, dialect: Dialect) -> tuple[list[str], int, bool]:
    """Return the record that begins at a line, how many lines it takes, and whether its quotes close."""
    if lines[at].count(dialect.quote or "\0") % 2 == 0:
        return next(csv.reader([lines[at]], **_format(dialect))), 1, True
    end = min(len(lines), at + SPAN_LINES)
    reader = csv.reader(iter(lines[at:end]), strict=True, **_format(dialect))
    try:
        record = next(reader)
    except csv.Error:
        return [], 1, False
    return record, reader.line_num, True
