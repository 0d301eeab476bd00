"""The identity of a collection: what it holds, never the bytes of its files."""

from __future__ import annotations

import hashlib
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cradle.digest import canonical_hash

METADATA: Final = ("corpus", "document_id", "position", "heading", "title")
BATCH: Final = 8192
CONTROL: Final = r"\\u00[01][A-F]"


def vector_matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a list column as a matrix of shape (rows, dimension)."""
    rows = column.combine_chunks()
    flat = rows.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    shaped: NDArray[np.float32] = flat.reshape(len(rows), -1) if len(rows) else flat.reshape(0, 0)
    return shaped


def row_hashes(rows: pa.Table) -> pa.Array:
    """Return the SHA-256 (hex) of each row's id, content hash and metadata, as `canonical_hash` gives it."""
    names = sorted(("chunk_id", "content_hash", *METADATA))
    plain = rows.select(names)
    packed = ", ".join(f"'{name}': \"{name}\"" for name in names)
    with duckdb.connect(":memory:") as con:
        con.register("plain", plain)
        # DuckDB's JSON is the canonical form: no spaces, letters as they are, names in the order given. Only the number
        # of a control character it writes with capitals.
        told = f"select to_json({{{packed}}})::varchar as j from plain"
        found = con.execute(
            f"select sha256(j) as h, regexp_matches(j, '{CONTROL}') as odd from ({told})"
        ).to_arrow_table()
    hashes = found.column("h").to_pylist()
    for at in np.flatnonzero(found.column("odd").to_numpy()):
        hashes[at] = canonical_hash(plain.slice(at, 1).to_pylist()[0])
    return pa.array(hashes, pa.string())


def collection_digest(rows: pa.Table, model_key: str, hashes: pa.Array | None = None) -> str:
    """Return the SHA-256 (hex) over (id, content hash, vector, metadata) in the order of ids, and the model key.

    Args:
        rows: chunk_id, content_hash, text, embedding and METADATA, one row per chunk.
        hashes: of the rows, where they are known already.
    """
    hashes = row_hashes(rows) if hashes is None else hashes
    order = pa.array(np.argsort(np.array(rows.column("chunk_id").to_pylist(), dtype=object), kind="stable"))
    whole = hashlib.sha256()
    for at in range(0, rows.num_rows, BATCH):
        part = order.slice(at, BATCH)
        told = np.frombuffer("".join(hashes.take(part).to_pylist()).encode(), np.uint8).reshape(len(part), -1)
        vectors = vector_matrix(rows.column("embedding").take(part))
        whole.update(np.hstack([told, vectors.view(np.uint8)]).tobytes())
    return canonical_hash({"model_key": model_key, "rows": whole.hexdigest()})
