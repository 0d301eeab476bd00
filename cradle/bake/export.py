"""Exporters: a pinned table as Parquet and as a key index, the same rows always as the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any, Final

import apsw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

EXPORT_FORMAT: Final = f"4/{pa.__version__}/{apsw.apsw_version()}"  # the writers' versions decide bytes too
ROW_GROUP: Final = 4096  # rows that a look-up by key has to read
TEXT_GROUP: Final = 512  # of chunks: a search reads a group for each text it shows
PAGE_SIZE: Final = 4096
KEY_BLOCK: Final = 32  # rows that a look-up by key decompresses; a part of ROW_GROUP
KEY_LEVEL: Final = 6


def write_parquet(path: Path, rows: pa.Table, order: tuple[str, ...]) -> None:
    """Write rows sorted by some columns, then by all others, with a checksum on every page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted_rows(rows, order).replace_schema_metadata(None)
    plain = pa.schema([pa.field(one.name, one.type) for one in ordered.schema])
    pq.write_table(
        ordered.cast(plain),
        path,
        row_group_size=TEXT_GROUP if "position" in plain.names else ROW_GROUP,
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
    """Write an SQLite file: key → block and place in it; a block is some rows as JSON lines, compressed with zstd.

    SQLite comes with apsw and zstd with Arrow, so that the machine's own versions decide nothing. A key of several
    columns is a JSON list.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    codec = pa.Codec("zstd", compression_level=KEY_LEVEL)
    con = apsw.Connection(str(path))
    try:
        con.execute(f"pragma page_size = {PAGE_SIZE}")
        con.execute("pragma journal_mode = off")
        con.execute("create table rows (key text primary key, block integer, place integer) without rowid")
        con.execute("create table blocks (block integer primary key, bytes integer, data blob)")
        con.execute("begin")
        for block, part in enumerate(_blocks(rows, key)):
            data = "\n".join(row for _, row in part).encode()
            packed = codec.compress(data, asbytes=True)
            con.execute("insert into blocks values (?, ?, ?)", (block, len(data), packed))
            con.executemany("insert into rows values (?, ?, ?)", ((one, block, i) for i, (one, _) in enumerate(part)))
        con.execute("commit")
        con.execute("vacuum")
    finally:
        con.close()


def _blocks(rows: pa.Table, key: tuple[str, ...]) -> Iterator[list[tuple[str, str]]]:
    """Yield a table's keyed rows in the order of their keys, a block at a time; few are held as text at once."""
    keys = [key_text(list(values)) for values in zip(*(rows.column(name).to_pylist() for name in key), strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for at in range(0, len(order), ROW_GROUP):
        known = list(keyed_rows(rows.take(order[at : at + ROW_GROUP]), key))
        yield from (known[start : start + KEY_BLOCK] for start in range(0, len(known), KEY_BLOCK))


def keyed_rows(rows: pa.Table, key: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield (text of the key, row as JSON) in the order of the rows."""
    heads = [json.dumps(name, ensure_ascii=False) + ":" for name in rows.column_names]
    starts = ["{" + heads[0], *("," + head for head in heads[1:])]
    for batch in rows.to_batches(max_chunksize=ROW_GROUP):
        keys = zip(*(batch.column(name).to_pylist() for name in key), strict=True)
        # Arrow joins the cells: a Python string per cell takes several times as long.
        parts = [part for start, column in zip(starts, batch.columns, strict=True) for part in (start, _cells(column))]
        lines = pc.binary_join_element_wise(*parts, "}", "")
        for values, line in zip(keys, lines.to_pylist(), strict=True):
            yield key_text(list(values)), line


def _cells(column: pa.Array) -> pa.Array:
    """Return a column's values as JSON, array of text; decimals keep their digits."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string()).fill_null("null")
    if pa.types.is_nested(kind):
        return pa.array([_json(value) for value in column.to_pylist()], pa.string())
    known = column.dictionary_encode()  # catalogues repeat their values
    told = [quoted(value) if isinstance(value, str) else _json(value) for value in known.dictionary.to_pylist()]
    return pa.array(told, pa.string()).take(known.indices).fill_null("null")


def key_text(values: list[Any]) -> str:
    """Return the text under which a key is found."""
    plain = [_plain(value) for value in values]
    return str(plain[0]) if len(plain) == 1 else json.dumps(plain, ensure_ascii=False)


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
