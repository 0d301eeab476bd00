"""Point look-ups in the key index of a table; its form is that of `cradle.bake.export.write_key_index`."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

FIND = "select bytes, data, place from rows join blocks using (block) where key = ?"


def row_of(path: Path, key: str) -> str | None:
    """Return one row as JSON by its key; None when there is none."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as con:
        found = con.execute(FIND, (key,)).fetchone()
    if found is None:
        return None
    size, data, place = found
    return lines(size, data)[int(place)]


def lines(size: int, data: bytes) -> list[str]:
    """Return the rows of one block as JSON."""
    import pyarrow as pa  # not needed by those who only count

    text = pa.Codec("zstd").decompress(data, size, asbytes=True).decode()
    rows: list[str] = text.split("\n")
    return rows
