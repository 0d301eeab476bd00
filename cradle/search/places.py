"""Rows of the search and the chunks that stand there: by row, by document, by what the products' table says.

Rows are in the order of corpus, document and chunk, chunk tables in that of document and position: so the chunks of a
document take the same span in both, and no index is needed to find one.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cradle.manifest import Manifest
from cradle.search.hits import CHUNK_TABLES, COLUMNS, PRODUCTS, Narrow, quoted

MASKS: Final = 32  # filters whose rows are remembered: one bit per row each
Mask = NDArray[np.bool_]


class Places:
    """Knows which chunk stands at which row."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        assert manifest.vectors is not None
        rows = pq.read_table(root / manifest.vectors.chunks)
        self.count = rows.num_rows
        self.chunk_ids: pa.Array = rows.column("chunk_id").combine_chunks()
        self._corpora = {
            corpus: _span(rows.column("corpus"), corpus)
            for corpus in CHUNK_TABLES
            if CHUNK_TABLES[corpus] in manifest.tables
        }
        self._documents = {
            corpus: _Documents(rows.column("document_id").slice(start, end - start), start)
            for corpus, (start, end) in self._corpora.items()
        }
        self._tables = {corpus: _Rows(root / manifest.tables[CHUNK_TABLES[corpus]].file) for corpus in self._corpora}
        self._con = duckdb.connect(":memory:", config={"threads": 1})
        if PRODUCTS in manifest.tables:
            self._open_products(root / manifest.tables[PRODUCTS].file)
        self._remembered = lru_cache(maxsize=MASKS)(self._mask)

    def _open_products(self, path: Path) -> None:
        found = f"read_parquet('{quoted(path)}', file_row_number = true)"
        self._con.execute(f"create view products as select * from {found}")
        skus = pq.read_table(path, columns=["sku"]).column("sku")
        self._spans = self._documents["products"].spans(skus) if "products" in self._documents else None

    @property
    def articles(self) -> pa.Array:
        """The article numbers of all products that have chunks; those of the chunks at `article_rows`."""
        products = self._documents.get("products")
        return products.ids if products else pa.array([], pa.string())

    def article_rows(self, article: int) -> NDArray[np.int64]:
        """Return the rows of the chunks of a product."""
        return np.arange(*self._documents["products"].span(article))

    def mask(self, narrow: Narrow) -> Mask | None:
        """Return which rows a search may find; none: all of them."""
        if not narrow:
            return None
        bits = self._remembered(tuple(sorted(narrow.plain.items())), narrow.where, narrow.values)
        return np.unpackbits(bits, count=self.count, bitorder="little").view(np.bool_)

    def _mask(self, plain: tuple[tuple[str, str], ...], where: str, values: tuple[str, ...]) -> NDArray[np.uint8]:
        allowed = self._by_products(where, values) if where else np.ones(self.count, np.bool_)
        for name, value in plain:
            these = np.zeros(self.count, np.bool_)
            for corpus, documents in self._documents.items():
                if name == "corpus" and corpus == value:
                    these[slice(*self._corpora[corpus])] = True
                elif name == "document_id" or (name == "sku" and corpus == "products"):
                    # The SKU of a product's chunk is the id of its document.
                    found = documents.find(value)
                    if found is not None:
                        these[slice(*documents.span(found))] = True
            allowed &= these
        return np.packbits(allowed, bitorder="little")

    def _by_products(self, where: str, values: tuple[str, ...]) -> Mask:
        allowed = np.zeros(self.count, np.bool_)
        if self._spans is None:
            return allowed
        asked = self._con.cursor().execute(f"select file_row_number from products where {where}", list(values))
        starts, ends = self._spans[:, asked.fetchnumpy()["file_row_number"]]
        steps = np.zeros(self.count + 1, np.int32)
        np.add.at(steps, starts, 1)
        np.add.at(steps, ends, -1)
        allowed[:] = np.cumsum(steps[:-1]) > 0
        return allowed

    def chunks(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return the chunks at these rows, in this order."""
        return [self._chunk(int(row)) for row in rows]

    def _chunk(self, row: int) -> dict[str, Any]:
        corpus, (first, _) = next((name, span) for name, span in self._corpora.items() if span[0] <= row < span[1])
        start, end = self._documents[corpus].span_at(row)
        wanted = self.chunk_ids[row].as_py()
        near = self._tables[corpus].read(start - first, end - first)
        at = near.column("chunk_id").to_pylist().index(wanted)
        found = {name: near.column(name)[at].as_py() for name in near.column_names}
        return {name: corpus if name == "corpus" else found.get(name) for name in COLUMNS}


class _Documents:
    """The documents of one corpus: runs of rows."""

    def __init__(self, ids: pa.ChunkedArray, first: int) -> None:
        column = ids.combine_chunks()
        changes = pc.not_equal(column.slice(1), column.slice(0, max(len(column) - 1, 0))).to_numpy(zero_copy_only=False)
        starts = np.concatenate([np.zeros(min(len(column), 1), np.int64), np.flatnonzero(changes) + 1])
        self.ids: pa.Array = column.take(pa.array(starts))
        self._edges = np.append(starts, len(column)) + first

    def span(self, document: int) -> tuple[int, int]:
        return int(self._edges[document]), int(self._edges[document + 1])

    def span_at(self, row: int) -> tuple[int, int]:
        return self.span(int(np.searchsorted(self._edges, row, "right")) - 1)

    def find(self, document_id: str) -> int | None:
        low, high = 0, len(self.ids)
        while low < high:  # they are sorted
            middle = (low + high) // 2
            if self.ids[middle].as_py().encode() < document_id.encode():
                low = middle + 1
            else:
                high = middle
        return low if low < len(self.ids) and self.ids[low].as_py() == document_id else None

    def spans(self, ids: pa.ChunkedArray) -> NDArray[np.int64]:
        """Return start and end, shape (2, ids), of documents by their id; both the same where there is none."""
        at = pc.fill_null(pc.index_in(ids, value_set=self.ids), -1).to_numpy()
        spans = np.vstack([self._edges[:-1], self._edges[1:]])
        return np.where(at >= 0, spans[:, at], 0) if len(self.ids) else np.zeros((2, len(ids)), np.int64)


class _Rows:
    """Rows of a Parquet file by their number; one reader at a time, since a file has one position."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, memory_map=True)
        sizes = [self._file.metadata.row_group(at).num_rows for at in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._columns = [name for name in self._file.schema_arrow.names if name in COLUMNS]
        self._lock = threading.Lock()
        self._group = lru_cache(maxsize=32)(self._read_group)

    def read(self, start: int, end: int) -> pa.Table:
        first, last = np.searchsorted(self._starts, [start, end - 1], "right") - 1
        groups = [self._group(int(at)) for at in range(first, last + 1)]
        whole = groups[0] if len(groups) == 1 else pa.concat_tables(groups)
        return whole.slice(start - int(self._starts[first]), end - start)

    def _read_group(self, at: int) -> pa.Table:
        with self._lock:
            return self._file.read_row_group(at, columns=self._columns, use_threads=False)


def _span(column: pa.ChunkedArray, value: str) -> tuple[int, int]:
    here = np.flatnonzero(pc.equal(column, value).to_numpy())
    return (int(here[0]), int(here[-1]) + 1) if len(here) else (0, 0)
