"""JSON, JSONL and Parquet, every value as text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cradle.installation import Source
from dlt_pipelines.reading.airlock import empty_rows
from dlt_pipelines.reading.parsed import Parsed, Rejects, check_headers, finish, map_columns, unique_headers

VALUE_CHARS = 500
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


def parse_json(path: Path, source: Source, source_file: str) -> Parsed:
    """Parse one JSON document: a list of objects, an object that holds such a list, or one object."""
    rejects, notes = Rejects(source_file), list[str]()
    blank = empty_rows(tuple(column.name for column in source.columns))
    text = _text(path, source, rejects)
    if text is None:
        return finish(source, blank, rejects, notes)
    try:
        document = _load(text)
    except ValueError as error:
        rejects.add("file", "bad_json", f"not JSON: {error}")
        return finish(source, blank, rejects, notes)
    key = source.dialect.records
    if key:
        document = document.get(key) if isinstance(document, dict) else None
        if not isinstance(document, list):
            have = ", ".join(_load(text)) if text.lstrip().startswith("{") else "none, as it is no object"
            message = f"no list under the key {key!r}. Keys: {have}. Name the list in the dialect's `records`"
            rejects.add("file", "missing_records", message)
            return finish(source, blank, rejects, notes)
    records = document if isinstance(document, list) else [document]
    return _records(list(enumerate(records, 1)), source, rejects, notes, check=bool(_ODD.search(text)))


def parse_jsonl(path: Path, source: Source, source_file: str) -> Parsed:
    """Parse one object a line; a line that is none becomes a reject."""
    rejects, notes = Rejects(source_file), list[str]()
    text = _text(path, source, rejects)
    if text is None:
        return finish(source, empty_rows(tuple(column.name for column in source.columns)), rejects, notes)
    numbered = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                numbered.append((number, _load(line)))
            except ValueError as error:
                rejects.add("row", "bad_json", f"not JSON: {error}", row_number=number, value=line[:VALUE_CHARS])
    return _records(numbered, source, rejects, notes, check=bool(_ODD.search(text)))


def _text(path: Path, source: Source, rejects: Rejects) -> str | None:
    data = path.read_bytes()
    if not data.strip():
        rejects.add("file", "empty_file", "the file holds nothing")
        return None
    for encoding in ("utf-8-sig", source.dialect.encoding, source.dialect.fallback_encoding):
        try:
            return data.decode(encoding or "utf-8")
        except UnicodeDecodeError as error:
            problem = error
    rejects.add("file", "bad_encoding", f"not {source.dialect.encoding}: {problem}")
    return None


def _records(
    numbered: list[tuple[int, Any]], source: Source, rejects: Rejects, notes: list[str], *, check: bool
) -> Parsed:
    objects, numbers = [], []
    for number, record in numbered:
        problem = None if isinstance(record, dict) else ("not_an_object", "a record must be an object")
        problem = problem or (_unstorable(record) if check else None)
        if problem is None:
            objects.append(record)
            numbers.append(number)
        else:
            rejects.add("row", *problem, row_number=number, value=json.dumps(record)[:VALUE_CHARS])
    headers = list(dict.fromkeys(key for record in objects for key in record))
    blank = empty_rows(tuple(column.name for column in source.columns))
    if objects:
        check_headers(source, headers, rejects, notes)
    if rejects.whole_file or not objects:
        return finish(source, blank, rejects, notes)
    columns = [pa.array([_as_text(record.get(header)) for record in objects], pa.string()) for header in headers]
    table = pa.table(columns, names=unique_headers(headers))
    return finish(source, map_columns(source, table, pa.array(numbers, pa.int64()), None), rejects, notes)


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


def parse_parquet(path: Path, source: Source, source_file: str) -> Parsed:
    """Parse one Parquet file; any type becomes text, exactly."""
    rejects, notes = Rejects(source_file), list[str]()
    blank = empty_rows(tuple(column.name for column in source.columns))
    if path.stat().st_size == 0:
        rejects.add("file", "empty_file", "the file holds nothing")
        return finish(source, blank, rejects, notes)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        rejects.add("file", "not_parquet", f"not a readable Parquet file ({error})")
        return finish(source, blank, rejects, notes)
    check_headers(source, table.column_names, rejects, notes)
    if rejects.whole_file:
        return finish(source, blank, rejects, notes)
    text = pa.table([_column_text(column) for column in table.columns], names=unique_headers(table.column_names))
    numbers = pa.array(range(1, table.num_rows + 1), pa.int64())
    return finish(source, map_columns(source, text, numbers, None), rejects, notes)


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
