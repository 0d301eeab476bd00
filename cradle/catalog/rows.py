"""Rows on their way into a commit: a stream, cut into parts that fit into memory, hashed and written as it passes.

PyIceberg's own way of writing a stream takes all of it before the first file is written: its pool accepts work without
bound. Here a part is taken only when one of few writers is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import duckdb
import pyarrow as pa
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from cradle.digest import PartsDigest

Rows: TypeAlias = "pa.Table | pa.RecordBatchReader"
PART_BYTES = 32 << 20  # of Arrow memory; becomes one Parquet file
WRITERS = 2


def store(loaded: Table, rows: Rows, *, hashed: bool) -> tuple[list[DataFile], str]:
    """Write rows as data files of a table; return them, and the content digest of the rows if it is asked for."""
    digest = _Digest(loaded, rows.schema) if hashed else None
    files: list[DataFile] = []
    waiting: deque[Future[list[DataFile]]] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:
        for part in _parts(_aligned(rows, loaded)):
            waiting.append(pool.submit(_write, loaded, part))
            if digest:
                digest.add(part)
            while len(waiting) > WRITERS:
                files += waiting.popleft().result()
        for one in waiting:
            files += one.result()
    return files, digest.value() if digest else ""


def digest_of(loaded: Table, rows: Rows) -> str:
    """Return the content digest that `store` would return."""
    digest = _Digest(loaded, rows.schema)
    for part in _parts(_aligned(rows, loaded)):
        digest.add(part)
    return digest.value()


def arrow_digest(rows: Rows) -> str:
    """Return the content digest of Arrow rows as they are."""
    digest = PartsDigest(_duckdb(), rows.schema)
    for part in _parts(_batches(rows)):
        digest.add(part)
    return digest.value()


class _Digest:
    """The content digest of those columns that a step writes, in the types of the table."""

    def __init__(self, loaded: Table, schema: pa.Schema) -> None:
        target = loaded.schema().as_arrow()
        self._columns = schema.names
        self._parts = PartsDigest(_duckdb(), pa.schema([target.field(name) for name in self._columns]))

    def add(self, part: pa.Table) -> None:
        self._parts.add(part.select(self._columns))

    def value(self) -> str:
        return self._parts.value()


def _duckdb() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:")
    con.execute("set TimeZone = 'UTC'")
    return con


def _write(loaded: Table, part: pa.Table) -> list[DataFile]:
    return list(_dataframe_to_data_files(loaded.metadata, part, loaded.io))


def _batches(rows: Rows) -> Iterator[pa.RecordBatch]:
    return iter(rows.to_batches() if isinstance(rows, pa.Table) else rows)


def _aligned(rows: Rows, loaded: Table) -> Iterator[pa.RecordBatch]:
    """Put columns into the table's order; a column that this step no longer has becomes NULL."""
    target = loaded.schema().as_arrow()
    have = set(rows.schema.names)
    for batch in _batches(rows):
        columns = [
            batch.column(field.name).cast(field.type) if field.name in have else pa.nulls(batch.num_rows, field.type)
            for field in target
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=target)


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Join batches up to the size of a part, and cut those that are larger."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        for piece in _cut(batch):
            if held and size + piece.nbytes > PART_BYTES:
                yield pa.Table.from_batches(held)
                held, size = [], 0
            held.append(piece)
            size += piece.nbytes
    if held:
        yield pa.Table.from_batches(held)


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    pieces = -(-batch.nbytes // PART_BYTES) if batch.num_rows else 0
    rows = -(-batch.num_rows // max(1, pieces))
    for at in range(0, batch.num_rows, max(1, rows)):
        yield batch.slice(at, rows)
