"""CSV with a pinned dialect: every cell as text, every record accounted for, block by block.

A block in which each record is one line is parsed by Arrow. Records over several lines, and broken quotes, take a
slower way with Python's csv module, which knows the line at which a record begins. Both read a record alike, so that it
makes no difference where a block ends.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from cradle.installation import Dialect, Source
from dlt_pipelines.reading.lines import RAW, Blocks, decodes, utf8_blocks
from dlt_pipelines.reading.parsed import Rejects, check_headers, map_columns, unique_headers

VALUE_CHARS = 500  # of a bad line that go into the rejects
SPAN_LINES = 1000  # a quoted field over more lines is taken for an unclosed quote
MAX_FIELD = (1 << 31) - 1
LF, CR = b"\n\r"


@dataclass(frozen=True)
class _Shape:
    """How the records of a file look: its columns, and what a line that counts as blank may hold."""

    names: list[str]
    dialect: Dialect

    @property
    def spaces(self) -> bytes:
        """Signs of which a blank line is made; where there is one column, it may hold nothing but spaces."""
        return b" \r\n" if len(self.names) > 1 else b"\r\n"

    @property
    def fit_for_arrow(self) -> bool:
        """Whether Arrow knows these signs; it takes single bytes only."""
        return (self.dialect.delimiter + (self.dialect.quote or "")).isascii()


def parse_csv(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Parse one CSV file."""
    csv.field_size_limit(MAX_FIELD)
    blocks = Blocks(utf8_blocks(path, source.dialect, rejects, notes))
    header = _header(blocks, source.dialect, rejects)
    if header and not rejects.whole_file:
        check_headers(source, header, rejects, notes)
    if rejects.whole_file:
        return
    shape, filled = _Shape(unique_headers(header), source.dialect), False
    while block := blocks.take():
        found = Rejects(rejects.source_file)
        read = _by_arrow(block, blocks, shape, found) if shape.fit_for_arrow else None
        table, numbers = read or _by_module(block, blocks, shape, found)
        filled = filled or bool(table.num_rows or found.rows)
        for row in sorted(found.rows, key=lambda row: int(str(row["row_number"]))):
            rejects.take_over(row)
        yield map_columns(source, table, numbers, None)
    if not filled:
        notes.append(f"{rejects.source_file}: a header, but no record")


def _header(blocks: Blocks, dialect: Dialect, rejects: Rejects) -> list[str]:
    """Take the header: the first line with text from `header_row` on; it may span lines when its quotes say so."""
    at = dialect.header_row - 1
    lines = blocks.take_lines(at + SPAN_LINES, [])
    while at < len(lines) and not lines[at].strip():
        at += 1
        lines = blocks.take_lines(at + SPAN_LINES, lines)
    if rejects.whole_file:
        return []
    if at >= len(lines):
        message = f"the file holds no header and no record (header expected in line {dialect.header_row})"
        rejects.add("file", "empty_file", message)
        return []
    text = [line.decode(errors=RAW) for line in lines[at : at + SPAN_LINES]]
    header, used, closed = _record(text, 0, dialect)
    problem = _problem("".join(text[:used]))
    if problem or not closed:
        reason, message = problem or ("broken_quote", "a quote in the header is opened and never closed")
        rejects.add("file", reason, f"header: {message}", row_number=at + 1, value=_shown(text[0]))
    blocks.put_back(lines, at + used)
    return header


def _format(dialect: Dialect) -> dict[str, object]:
    quoting = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    return {"delimiter": dialect.delimiter, "quotechar": dialect.quote or None, "quoting": quoting}


def _by_arrow(block: bytes, blocks: Blocks, shape: _Shape, rejects: Rejects) -> tuple[pa.Table, pa.Array] | None:
    """Parse records of one line each; None if some record spans lines, or may."""
    as_delivered = block
    if block.count(b"\r") != block.count(b"\r\n"):  # the line endings of old Macs
        block = b"".join(line + b"\n" for line in block.splitlines())
    block += b"" if block.endswith(b"\n") else b"\n"
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == LF) + 1
    if _odd_quotes(data, ends, shape.dialect):
        return None
    begins = np.concatenate(([0], ends[:-1]))
    found = Rejects(rejects.source_file)
    left_out = _blank(block, data, begins, ends, shape)
    if b"\0" in block or not decodes(block):
        left_out += _bad(as_delivered, blocks.number, found)
    kept = np.delete(np.arange(len(ends)), left_out)
    text = b"".join(block[begins[at] : ends[at]] for at in kept) if left_out else block
    # Arrow forgives a quote left open at the end.
    if len(kept) and not _record([block[begins[kept[-1]] : ends[kept[-1]]].decode()], 0, shape.dialect)[2]:
        return None
    ragged: dict[int, int] = {}  # position → number of fields

    def skip(row: pacsv.InvalidRow) -> str:
        ragged[row.number - 1] = row.actual_columns
        return "skip"

    table = _arrow_table(text, shape, skip)
    if table.num_rows + len(ragged) != len(kept):  # quotes come in pairs, and yet a field spans lines
        return None
    for at, fields in ragged.items():
        line = block[begins[kept[at]] : ends[kept[at]]].decode()
        problem = _ragged(len(shape.names), fields)
        found.add("row", *problem, row_number=blocks.number + int(kept[at]), value=_shown(line))
    rejects.rows += found.rows
    numbers = pa.array(np.delete(kept, list(ragged)) + blocks.number, pa.int64())
    blocks.number += len(ends)
    return table, numbers


def _odd_quotes(data: np.ndarray, ends: np.ndarray, dialect: Dialect) -> bool:
    """Tell whether some line holds an odd number of quotes."""
    places = np.flatnonzero(data == ord(dialect.quote)) if dialect.quote else np.empty(0, np.int64)
    if not len(places):
        return False
    counts = np.bincount(np.searchsorted(ends, places, side="right"), minlength=len(ends))
    return bool((counts & 1).any())


def _blank(block: bytes, data: np.ndarray, begins: np.ndarray, ends: np.ndarray, shape: _Shape) -> list[int]:
    """Return the positions of blank lines."""
    starts = np.isin(data[begins], np.frombuffer(shape.spaces, dtype=np.uint8))
    return [int(at) for at in np.flatnonzero(starts) if not block[begins[at] : ends[at]].strip(shape.spaces)]


def _bad(block: bytes, number: int, rejects: Rejects) -> list[int]:
    """Return the positions of lines that hold a NUL byte or don't decode."""
    found = []
    for at, line in enumerate(block.splitlines(keepends=True)):
        text = line.decode(errors=RAW)
        problem = _problem(text)
        if problem:
            rejects.add("row", *problem, row_number=number + at, value=_shown(text))
            found.append(at)
    return found


def _arrow_table(text: bytes, shape: _Shape, skip: object) -> pa.Table:
    if not text:
        return pa.schema([pa.field(name, pa.string()) for name in shape.names]).empty_table()
    quote = shape.dialect.quote
    return pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=shape.names, block_size=len(text) + 1),
        parse_options=pacsv.ParseOptions(
            delimiter=shape.dialect.delimiter,
            quote_char=quote or False,
            double_quote=bool(quote),
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(shape.names, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )


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


def _by_module(block: bytes, blocks: Blocks, shape: _Shape, rejects: Rejects) -> tuple[pa.Table, pa.Array]:
    """Parse records that may span lines; a quote that never closes costs its own line, not the rest of the file."""
    body = block.splitlines(keepends=True)
    own = len(body)  # records that begin in the block are read here, however far they reach
    body = blocks.take_lines(own + SPAN_LINES, body)
    lines = [line.decode(errors=RAW) for line in body]
    records: list[list[str]] = []
    numbers: list[int] = []
    at = 0
    while at < own:
        if not body[at].strip(shape.spaces):
            at += 1
            continue
        record, used, closed = _record(lines, at, shape.dialect)
        text = "".join(lines[at : at + used])
        problem = _problem(text)
        if problem is None and not closed:
            fault = "a quote is opened and never closed. Close it, or double one that is part of a value"
            problem = ("broken_quote", fault)
        if problem is None and len(record) != len(shape.names):
            problem = _ragged(len(shape.names), len(record))
        if problem:
            rejects.add("row", *problem, row_number=blocks.number + at, value=_shown(text))
        else:
            records.append(record)
            numbers.append(blocks.number + at)
        at += used
    blocks.put_back(body, at)
    columns = zip(*records, strict=True) if records else ([] for _ in shape.names)
    arrays = [pa.array(list(column), pa.string()) for column in columns]
    return pa.table(arrays, names=shape.names), pa.array(numbers, pa.int64())


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
