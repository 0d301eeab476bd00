"""The identity of a collection: what it holds, never the bytes of its files."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cradle.digest import canonical_hash

METADATA = ("corpus", "document_id", "position", "heading", "title")


def vector_matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a list column as a matrix of shape (rows, dimension)."""
    rows = column.combine_chunks()
    flat = rows.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    shaped: NDArray[np.float32] = flat.reshape(len(rows), -1) if len(rows) else flat.reshape(0, 0)
    return shaped


def collection_digest(rows: pa.Table, model_key: str) -> str:
    """Return the SHA-256 (hex) over (id, content hash, vector, metadata) in the order of ids, and the model key.

    Args:
        rows: chunk_id, content_hash, text, embedding and METADATA, one row per chunk.
    """
    ordered = rows.sort_by("chunk_id")
    vectors = vector_matrix(ordered.column("embedding"))
    whole = hashlib.sha256()
    plain = ordered.select(["chunk_id", "content_hash", *METADATA]).to_pylist()
    for row, vector in zip(plain, vectors, strict=True):
        whole.update(canonical_hash(row).encode())
        whole.update(vector.tobytes())
    return canonical_hash({"model_key": model_key, "rows": whole.hexdigest()})
