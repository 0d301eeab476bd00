"""Everything readable in an image's files: plain bytes, and what compression and encoding hide from a look at them.

Parquet pages are compressed and SQLite may hold compressed blobs, so each kind of file is read as what it is.
"""

from __future__ import annotations

import gzip
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cradle.errors import VerifyFailed

WINDOW: Final = 1 << 20
OVERLAP: Final = 1 << 12  # longer than any tag or token, so that none is cut in two
ROWS: Final = 4096
LARGEST: Final = 1 << 30  # bytes that one packed member may unfold to
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAGIC: Final = {b"PAR1": "parquet", b"SQLite f": "sqlite", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", _ZSTD: "zstd"}


class Part(NamedTuple):
    """Values found at one place of a file, as text or as bytes."""

    where: str
    values: pa.Array


def kind_of(path: Path) -> str:
    """Return parquet, sqlite, gzip, zip, zstd, text, or binary for what can't be looked into."""
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return "text" if _is_text(head) else "binary"


def _is_text(head: bytes) -> bool:
    try:
        head[: max(len(head) - 3, 0)].decode()  # the last character may be cut
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 6 and b"\0" not in head
    return b"\0" not in head


def raw_parts(path: Path) -> Iterator[Part]:
    """Yield a file's bytes in windows that overlap."""
    with path.open("rb") as stream:
        yield from _windows(stream, "byte")


def _windows(stream: Any, where: str) -> Iterator[Part]:
    at, kept = 0, b""
    while data := stream.read(WINDOW):
        if at > LARGEST and where != "byte":
            raise OSError(f"{where} unfolds to more than {LARGEST >> 30} GiB")
        yield Part(f"{where} {at - len(kept)}", pa.array([kept + data], pa.binary()))
        at += len(data)
        kept = data[-OVERLAP:] if len(data) >= OVERLAP else (kept + data)[-OVERLAP:]


def decoded_parts(path: Path, *, strict: bool = True) -> Iterator[Part]:
    """Yield what a file holds in a form that its plain bytes hide; nothing for text and unknown files.

    Args:
        strict: False for what the customer delivered: it may be broken, and is looked into as far as it opens.

    Raises:
        VerifyFailed: it can't be read as what it begins like.
    """
    readers = {"parquet": _parquet, "sqlite": _sqlite, "gzip": _gzip, "zstd": _zstd, "zip": _zip}
    reader = readers.get(kind_of(path))
    if reader is None:
        return
    try:
        yield from reader(path)
    except (pa.ArrowException, sqlite3.Error, OSError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        if strict:
            raise VerifyFailed(f"{path.name} can't be looked into: {error}") from error


def _parquet(path: Path) -> Iterator[Part]:
    """Yield the dictionary of every text column and row group: each value once, with those that no row uses."""
    with pq.ParquetFile(path) as plain:
        columns = [plain.schema.column(at) for at in range(len(plain.schema))]
    texts = [one.path for one in columns if one.physical_type == "BYTE_ARRAY" and one.logical_type.type != "DECIMAL"]
    with pq.ParquetFile(path, read_dictionary=texts) as parquet:
        for group in range(parquet.num_row_groups):
            rows = parquet.read_row_group(group)
            for name, column in zip(rows.column_names, rows.columns, strict=True):
                for chunk in column.chunks:
                    for values in _leaves(chunk):
                        yield Part(f"column {name}, row group {group}", values)


def _leaves(array: Any) -> Iterator[pa.Array]:
    """Yield the texts and bytes in an array of any type."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(array.dictionary)
    elif pa.types.is_struct(kind):
        for at in range(kind.num_fields):
            yield from _leaves(array.field(at))
    elif pa.types.is_map(kind):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif pa.types.is_nested(kind):
        yield from _leaves(array.values)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield array
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        yield array.cast(pa.large_binary())


def _sqlite(path: Path) -> Iterator[Part]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as con:
        con.text_factory = bytes  # text need not be UTF-8
        for (name,) in con.execute("select name from sqlite_master where type = 'table'").fetchall():
            table = name.decode()
            found = con.execute('select * from "' + table.replace('"', '""') + '"')
            titles = [one[0] for one in found.description]
            while rows := found.fetchmany(ROWS):
                for title, cells in zip(titles, zip(*rows, strict=True), strict=True):
                    values = [_unpacked(cell) for cell in cells if isinstance(cell, bytes)]
                    if values:
                        yield Part(f"table {table}, column {title}", pa.array(values, pa.large_binary()))


def _unpacked(cell: bytes) -> bytes:
    if not cell.startswith(_ZSTD):
        return cell
    return bytes(pa.CompressedInputStream(pa.BufferReader(cell), "zstd").read())


def _gzip(path: Path) -> Iterator[Part]:
    with gzip.open(path) as stream:
        yield from _windows(stream, "unpacked byte")


def _zstd(path: Path) -> Iterator[Part]:
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        yield from _windows(stream, "unpacked byte")


def _zip(path: Path) -> Iterator[Part]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                yield from _windows(stream, f"member {entry.filename}, byte")
