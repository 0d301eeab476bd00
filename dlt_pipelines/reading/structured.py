"""JSON, JSONL and Parquet, every value as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cradle.installation import Source
from dlt_pipelines.reading.lines import blocks_of, decoded, first_error
from dlt_pipelines.reading.parsed import Rejects, check_headers, map_columns, unique_headers

VALUE_CHARS = 500
BATCH_ROWS = 4096
PAGE_BYTES = 1 << 20  # read at once of each column
_ODD = re.compile(r"\\u([dD][89a-fA-F]|0000)|\0")  # escapes that may stand for no character


class _Bad(ValueError):
    """What Python takes for JSON, and what is none or can't be stored."""


def _refuse(constant: str) -> Any:
    raise _Bad(f"{constant} is no JSON number")


class _Number(str):
    """A number as it was written."""


def _load(text: str) -> Any:
    """Parse JSON; numbers keep the digits that were written."""
    try:
        return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_refuse)
    except RecursionError as error:
        raise _Bad("nested too deeply") from error


def parse_json(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Parse one JSON document: a list of objects, an object that holds such a list, or one object.

    A document is one value, so it is read as a whole; what is too large for that is delivered as JSONL.
    """
    encoding = _encoding(path, source, rejects)
    if encoding is None:
        return
    text = "".join(decoded(path, encoding))
    try:
        document = _load(text)
    except ValueError as error:
        rejects.add("file", "bad_json", f"not JSON: {error}")
        return
    key = source.dialect.records
    if key:
        document = document.get(key) if isinstance(document, dict) else None
        if not isinstance(document, list):
            have = ", ".join(_load(text)) if text.lstrip().startswith("{") else "none, as it is no object"
            message = f"no list under the key {key!r}. Keys: {have}. Name the list in the dialect's `records`"
            rejects.add("file", "missing_records", message)
            return
    records = document if isinstance(document, list) else [document]
    headers: dict[str, None] = {}
    table = _records(list(enumerate(records, 1)), source, headers, rejects, check=bool(_ODD.search(text)))
    if table.num_rows:
        check_headers(source, list(headers), rejects, notes)
    yield table


def parse_jsonl(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Parse one object a line; a line that is none becomes a reject."""
    encoding = _encoding(path, source, rejects)
    if encoding is None:
        return
    number, filled = 1, False
    headers: dict[str, None] = {}
    for block in _lines(decoded(path, encoding)):
        lines, numbered, found = block.split("\n"), [], Rejects(rejects.source_file)
        for at, line in enumerate(lines, number):
            if line.strip():
                try:
                    numbered.append((at, _load(line)))
                except ValueError as error:
                    found.add("row", "bad_json", f"not JSON: {error}", row_number=at, value=line[:VALUE_CHARS])
        number += len(lines)
        table = _records(numbered, source, headers, found, check=bool(_ODD.search(block)))
        for row in sorted(found.rows, key=lambda row: int(str(row["row_number"]))):
            rejects.take_over(row)
        filled = filled or table.num_rows > 0
        yield table
    if filled:
        check_headers(source, list(headers), rejects, notes)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Cut a text into blocks of whole lines; the line feed between two blocks belongs to neither."""
    kept = ""
    for text in texts:
        before, ending, after = (kept + text).rpartition("\n")
        if ending:
            yield before
        kept = after
    yield kept


def _encoding(path: Path, source: Source, rejects: Rejects) -> str | None:
    """Return the first encoding in which the whole file decodes."""
    if not any(block.strip() for block in blocks_of(path)):
        rejects.add("file", "empty_file", "the file holds nothing")
        return None
    problem = None
    for encoding in ("utf-8-sig", source.dialect.encoding, source.dialect.fallback_encoding):
        problem = first_error(path, encoding or "utf-8")
        if problem is None:
            return encoding or "utf-8"
    rejects.add("file", "bad_encoding", f"not {source.dialect.encoding}: {problem}")
    return None


def _records(
    numbered: list[tuple[int, Any]], source: Source, headers: dict[str, None], rejects: Rejects, *, check: bool
) -> pa.Table:
    """Turn objects into rows; `headers` are the keys met so far, in the order in which they came, and grow."""
    objects, numbers = [], []
    for number, record in numbered:
        problem = None if isinstance(record, dict) else ("not_an_object", "a record must be an object")
        problem = problem or (_unstorable(record) if check else None)
        if problem is None:
            objects.append(record)
            numbers.append(number)
        else:
            rejects.add("row", *problem, row_number=number, value=json.dumps(record)[:VALUE_CHARS])
    headers.update(dict.fromkeys(key for record in objects for key in record))
    columns = [pa.array([_as_text(record.get(header)) for record in objects], pa.string()) for header in headers]
    if not columns:
        columns, headed = [pa.nulls(len(objects), pa.string())], ["column_1"]
    else:
        headed = unique_headers(list(headers))
    return map_columns(source, pa.table(columns, names=headed), pa.array(numbers, pa.int64()), None)


def _unstorable(record: Any) -> tuple[str, str] | None:
    text = json.dumps(record)
    if r"\u0000" in text:
        return "nul_byte", "the record holds a NUL character. Deliver it without"
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "bad_encoding", "the record holds half a character (a lone surrogate). Deliver it in UTF-8"
    return None


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _json(value)


def _json(value: Any) -> str:
    """Write a value as JSON, its numbers with their own digits."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_json(value[key])}" for key in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def parse_parquet(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Parse one Parquet file, page by page; any type becomes text, exactly."""
    if path.stat().st_size == 0:
        rejects.add("file", "empty_file", "the file holds nothing")
        return
    number = 1
    try:
        file = pq.ParquetFile(path, buffer_size=PAGE_BYTES, pre_buffer=False)
        headers = file.schema_arrow.names
        check_headers(source, headers, rejects, notes)
        if rejects.whole_file:
            return
        for batch in file.iter_batches(BATCH_ROWS):
            columns = [_column_text(pa.chunked_array([column])) for column in batch.columns]
            numbers = pa.array(range(number, number + batch.num_rows), pa.int64())
            number += batch.num_rows
            yield map_columns(source, pa.table(columns, names=unique_headers(headers)), numbers, None)
    except (pa.ArrowException, OSError) as error:
        rejects.add("file", "not_parquet", f"not a readable Parquet file ({error})")


def _column_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _column_text(column.cast(kind.value_type))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
        return pa.chunked_array([pa.array([_as_text(_plain(value)) for value in column.to_pylist()], pa.string())])
    return pc.cast(column, pa.string())


def _plain(value: Any) -> Any:
    """Return what JSON can hold: bytes as hexadecimal digits, everything unknown as its text."""
    return value.hex() if isinstance(value, bytes) else json.loads(json.dumps(value, default=str))
