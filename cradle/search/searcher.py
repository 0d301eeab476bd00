"""Semantic search: the query's vector against every vector of the image, filters applied before the scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from cradle.manifest import Manifest
from cradle.search.hits import COLUMNS, Hit, chunks_sql, quoted
from cradle.vectors.encoder import QueryEncoder
from cradle.vectors.flat import FlatIndex


class Searcher:
    """Searches one image."""

    def __init__(self, root: Path, manifest: Manifest, threads: int = 2) -> None:
        if manifest.vectors is None or manifest.encoder is None:
            raise ValueError("the image has no vectors")
        entry = manifest.encoder
        self._index = FlatIndex(*(root / part for part in manifest.vectors.parts))
        self._encoder = QueryEncoder(root / entry.file, root / entry.tokenizer, entry, threads)
        self._con = duckdb.connect(":memory:")
        self._con.execute(f"create view chunks as {chunks_sql(root, manifest)}")
        order = f"read_parquet('{quoted(root / manifest.vectors.chunks)}', file_row_number = true)"
        self._con.execute(
            f"create table places as select chunk_id, corpus, document_id, file_row_number as row from {order}"
        )
        self._ids = [row[0] for row in self._con.execute("select chunk_id from places order by row").fetchall()]

    def search(self, query: str, k: int, filters: dict[str, str]) -> list[Hit]:
        """Return the k nearest chunks; `filters` may name corpus, document_id and sku."""
        allow = self._allowed(filters)
        if allow is not None and not len(allow):
            return []
        scores, rows = self._index.search(self._encoder.encode(query), k, allow)
        found = {self._ids[row]: float(score) for score, row in zip(scores[0], rows[0], strict=True) if row >= 0}
        chunks = self._rows(list(found))
        hits = [Hit(score=round(found[one["chunk_id"]], 6), **one) for one in chunks]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))

    def _allowed(self, filters: dict[str, str]) -> Any:
        if not filters:
            return None
        # The SKU of a product's chunk is the id of its document.
        plain = {("document_id" if name == "sku" else name): value for name, value in filters.items()}
        where = " and ".join(f"{name} = ?" for name in plain) + (" and corpus = 'products'" if "sku" in filters else "")
        rows = self._con.cursor().execute(f"select row from places where {where}", list(plain.values())).fetchnumpy()
        return np.asarray(rows["row"], dtype=np.int64)

    def _rows(self, ids: list[str]) -> list[dict[str, Any]]:
        marks = ", ".join("?" for _ in ids)
        found = self._con.cursor().execute(f"select {', '.join(COLUMNS)} from chunks where chunk_id in ({marks})", ids)
        return [dict(zip(COLUMNS, row, strict=True)) for row in found.fetchall()] if ids else []
