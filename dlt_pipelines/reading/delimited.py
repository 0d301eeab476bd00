"""CSV with a pinned dialect: every cell as text, every record accounted for.

A file in which each record is one line is parsed by Arrow. Records over several lines, and broken quotes, take a slower
way with Python's csv module, which knows the line at which a record begins. Both read a record alike.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from cradle.installation import Dialect, Source
from dlt_pipelines.reading.airlock import empty_rows
from dlt_pipelines.reading.parsed import Parsed, Rejects, check_headers, finish, map_columns, unique_headers

VALUE_CHARS = 500  # of a bad line that go into the rejects
SPAN_LINES = 1000  # a quoted field over more lines is taken for an unclosed quote
MAX_FIELD = (1 << 31) - 1
BLOCK = 1 << 24
RAW = "surrogateescape"  # keeps bytes that don't decode, so that their line can be named and left out

Line = tuple[int, bytes]  # number in the file, UTF-8 with its line ending


def parse_csv(path: Path, source: Source, source_file: str) -> Parsed:
    """Parse one CSV file."""
    csv.field_size_limit(MAX_FIELD)
    rejects, notes = Rejects(source_file), list[str]()
    blank = empty_rows(tuple(column.name for column in source.columns))
    data = _utf8(path.read_bytes(), source.dialect, rejects, notes)
    header, body = ([], []) if rejects.whole_file else _header(data, source.dialect, rejects)
    if header and not rejects.whole_file:
        check_headers(source, header, rejects, notes)
    if rejects.whole_file:
        return finish(source, blank, rejects, notes)
    names = unique_headers(header)
    spaces = b" \r\n" if len(names) > 1 else b"\r\n"  # one column may hold nothing but spaces
    filled = [line for line in body if line[1].strip(spaces)]
    if not filled:
        notes.append(f"{source_file}: a header, but no record")
        return finish(source, blank, rejects, notes)
    read = _by_arrow(filled, names, source.dialect, rejects) or _by_module(body, names, spaces, source.dialect, rejects)
    return finish(source, map_columns(source, *read, None), rejects, notes)


def _utf8(data: bytes, dialect: Dialect, rejects: Rejects, notes: list[str]) -> bytes:
    """Return a file as UTF-8; bytes that decode in no allowed way stay as they are."""
    encoding = dialect.encoding
    if data.startswith(codecs.BOM_UTF8):
        data, encoding = data[3:], "utf-8"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    if codecs.lookup(encoding).name == "utf-8":
        return data if _decodes(data) else _mended(data, dialect.fallback_encoding, rejects, notes)
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            rejects.add("file", "bad_encoding", f"not {encoding}: {error}. Deliver the file again, whole")
            return b""
    if dialect.fallback_encoding and _decodes(data, dialect.fallback_encoding):
        notes.append(f"{rejects.source_file}: not {encoding}, read as {dialect.fallback_encoding}")
        return data.decode(dialect.fallback_encoding).encode()
    return data.decode(encoding, errors=RAW).encode(errors=RAW)


def _mended(data: bytes, fallback: str | None, rejects: Rejects, notes: list[str]) -> bytes:
    """Read the lines that are not UTF-8 in the fallback encoding; a file may mix both."""
    if not fallback:
        return data
    lines = data.splitlines(keepends=True)
    bad = [at for at, line in enumerate(lines) if not _decodes(line) and _decodes(line, fallback)]
    for at in bad:
        lines[at] = lines[at].decode(fallback).encode()
    if bad:
        notes.append(f"{rejects.source_file}: {len(bad)} line(s) not utf-8, read as {fallback}; first: {bad[0] + 1}")
    return b"".join(lines)


def _decodes(data: bytes, encoding: str = "utf-8") -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _header(data: bytes, dialect: Dialect, rejects: Rejects) -> tuple[list[str], list[Line]]:
    """Split off the header: the first line with text from `header_row` on; it may span lines when its quotes say so."""
    lines = data.splitlines(keepends=True)
    at = dialect.header_row - 1
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at >= len(lines):
        message = f"the file holds no header and no record (header expected in line {dialect.header_row})"
        rejects.add("file", "empty_file", message)
        return [], []
    text = [line.decode(errors=RAW) for line in lines[at : at + SPAN_LINES]]
    header, used, closed = _record(text, 0, dialect)
    problem = _problem("".join(text[:used]))
    if problem or not closed:
        reason, message = problem or ("broken_quote", "a quote in the header is opened and never closed")
        rejects.add("file", reason, f"header: {message}", row_number=at + 1, value=_shown(text[0]))
    return header, list(enumerate(lines[at + used :], at + used + 1))


def _format(dialect: Dialect) -> dict[str, object]:
    quoting = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    return {"delimiter": dialect.delimiter, "quotechar": dialect.quote or None, "quoting": quoting}


def _by_arrow(
    lines: list[Line], names: list[str], dialect: Dialect, rejects: Rejects
) -> tuple[pa.Table, pa.Array] | None:
    """Parse records of one line each; None if some record spans lines."""
    quote = (dialect.quote or "").encode()
    data = b"".join(line for _, line in lines)
    if not (dialect.delimiter + (dialect.quote or "")).isascii():
        return None
    if quote and quote in data and any(line.count(quote) % 2 for _, line in lines):
        return None
    problems = Rejects(rejects.source_file)
    if b"\0" in data or not _decodes(data):
        lines = list(_clean(lines, problems))
    bad: dict[int, int] = {}  # position of a ragged row → its number of fields

    def skip(row: pacsv.InvalidRow) -> str:
        bad[row.number - 1] = row.actual_columns
        return "skip"

    if lines and not _record([lines[-1][1].decode()], 0, dialect)[2]:  # Arrow forgives a quote left open at the end
        return None
    table = _arrow_table(lines, names, dialect, skip)
    if table.num_rows + len(bad) != len(lines):  # quotes come in pairs, and yet a field spans lines
        return None
    for at, found in bad.items():
        problems.add("row", *_ragged(len(names), found), row_number=lines[at][0], value=_shown(lines[at][1].decode()))
    rejects.rows += problems.rows
    numbers = np.fromiter((number for number, _ in lines), dtype=np.int64, count=len(lines))
    return table, pa.array(np.delete(numbers, list(bad)))


def _arrow_table(lines: list[Line], names: list[str], dialect: Dialect, skip: object) -> pa.Table:
    if not lines:
        return pa.schema([pa.field(name, pa.string()) for name in names]).empty_table()
    longest = max(len(line) for _, line in lines)
    return pacsv.read_csv(
        pa.BufferReader(b"\n".join(line.rstrip(b"\r\n") for _, line in lines) + b"\n"),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=names, block_size=max(BLOCK, longest + 1)),
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


def _clean(lines: list[Line], rejects: Rejects) -> Iterator[Line]:
    """Leave out the lines that hold a NUL byte or don't decode."""
    for number, line in lines:
        text = line.decode(errors=RAW)
        problem = _problem(text)
        if problem is None:
            yield number, line
        else:
            rejects.add("row", *problem, row_number=number, value=_shown(text))


def _problem(text: str) -> tuple[str, str] | None:
    """Return (reason, message) if a record's text can't be kept as text."""
    if "\0" in text:
        return "nul_byte", "the record holds a NUL byte. Deliver it without"
    if not text.isascii() and any("\udc80" <= sign <= "\udcff" for sign in text):
        at = next(at for at, sign in enumerate(text) if "\udc80" <= sign <= "\udcff")
        near = text[max(0, at - 20) : at + 20].encode(errors=RAW)
        return "bad_encoding", f"bytes that are not in the pinned encoding: {near!r}. Deliver the file in one encoding"
    return None


def _shown(text: str) -> str:
    """Return what a reject shows of a bad record; bytes that don't decode as `\\xff`."""
    raw = text[:VALUE_CHARS].rstrip("\r\n").encode(errors=RAW)
    return raw.decode(errors="backslashreplace").replace("\0", "\\0")


def _ragged(expected: int, found: int) -> tuple[str, str]:
    message = f"{found} field(s) where the header has {expected}. Quote values that hold the delimiter or a line break"
    return "ragged_row", message


def _by_module(
    body: list[Line], names: list[str], spaces: bytes, dialect: Dialect, rejects: Rejects
) -> tuple[pa.Table, pa.Array]:
    """Parse records that may span lines; a quote that never closes costs its own line, not the rest of the file."""
    lines = [line.decode(errors=RAW) for _, line in body]
    records: list[list[str]] = []
    numbers: list[int] = []
    at = 0
    while at < len(lines):
        number, line = body[at]
        if not line.strip(spaces):
            at += 1
            continue
        record, used, closed = _record(lines, at, dialect)
        text = "".join(lines[at : at + used])
        problem = _problem(text)
        if problem is None and not closed:
            problem = (
                "broken_quote",
                "a quote is opened and never closed. Close it, or double one that is part of a value",
            )
        if problem is None and len(record) != len(names):
            problem = _ragged(len(names), len(record))
        if problem:
            rejects.add("row", *problem, row_number=number, value=_shown(text))
        else:
            records.append(record)
            numbers.append(number)
        at += used
    columns = zip(*records, strict=True) if records else ([] for _ in names)
    arrays = [pa.array(list(column), pa.string()) for column in columns]
    return pa.table(arrays, names=names), pa.array(numbers, pa.int64())


def _record(lines: list[str], at: int, dialect: Dialect) -> tuple[list[str], int, bool]:
    """Return the record that begins at a line, how many lines it takes, and whether its quotes close."""
    alone = csv.reader(iter((lines[at].rstrip("\r\n") + "\n", "")), **_format(dialect))
    record = next(alone)
    if alone.line_num == 1:  # the second line was not asked for
        return record, 1, True
    reader = csv.reader(iter(lines[at : at + SPAN_LINES]), strict=True, **_format(dialect))
    try:
        record = next(reader)
    except csv.Error:
        return [], 1, False
    return record, reader.line_num, True
