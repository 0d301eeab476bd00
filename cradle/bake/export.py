"""Exporters: a pinned table as Parquet and as a key index, the same rows always as the same bytes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

EXPORT_FORMAT: Final = f"2/{pa.__version__}"  # the writer's version decides bytes too
ROW_GROUP: Final = 4096  # rows that a look-up by key has to read
PAGE_SIZE: Final = 4096


def write_parquet(path: Path, rows: pa.Table, key: tuple[str, ...]) -> None:
    """Write rows sorted by their key, then by all other columns, with a checksum on every page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted_rows(rows, key).replace_schema_metadata(None)
    plain = pa.schema([pa.field(one.name, one.type) for one in ordered.schema])
    pq.write_table(
        ordered.cast(plain),
        path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        compression_level=3,
        write_page_checksum=True,
        version="2.6",
        data_page_version="1.0",
        store_schema=False,
    )


def sorted_rows(rows: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """Return rows in the one order that their content has."""
    rest = [one.name for one in rows.schema if one.name not in key and not pa.types.is_nested(one.type)]
    order = [(name, "ascending") for name in [*key, *rest]]
    return rows.sort_by(order) if order and rows.num_rows else rows


def write_key_index(path: Path, rows: pa.Table, key: tuple[str, ...]) -> None:
    """Write an SQLite file: key → row as JSON; a key of several columns is a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    con = sqlite3.connect(path, isolation_level=None)
    try:
        con.execute(f"pragma page_size = {PAGE_SIZE}")
        con.execute("pragma journal_mode = off")
        con.execute("create table rows (key text primary key, row text not null) without rowid")
        con.execute("begin")
        con.executemany("insert into rows values (?, ?)", sorted(_keyed(rows.to_pylist(), key)))
        con.execute("commit")
        con.execute("vacuum")
    finally:
        con.close()


def _keyed(rows: Iterable[dict[str, Any]], key: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    for row in rows:
        yield key_text([row[name] for name in key]), json_row(row)


def key_text(values: list[Any]) -> str:
    """Return the text under which a key is found."""
    plain = [_plain(value) for value in values]
    return str(plain[0]) if len(plain) == 1 else json.dumps(plain, ensure_ascii=False)


def json_row(row: dict[str, Any]) -> str:
    """Return a row as JSON; decimals keep their digits."""
    parts = (f"{json.dumps(name, ensure_ascii=False)}:{_json(value)}" for name, value in row.items())
    return "{" + ",".join(parts) + "}"


def _json(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
