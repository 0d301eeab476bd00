"""The flat index of an image: every vector as 16-bit floats, searched exhaustively by inner product.

Deterministic bytes, any filter, and no build to speak of (DESIGN, section 8).
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

BATCH = 65_536  # vectors converted at a time


def write_flat(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write vectors of shape (n, dimension) as a flat fp16 index."""
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    for at in range(0, len(vectors), BATCH):
        # Rounded by numpy, half to even: faiss rounds ties by the processor it finds, so bytes would differ.
        index.add(vectors[at : at + BATCH].astype(np.float16).astype(np.float32))
    faiss.write_index(index, str(path))


class FlatIndex:
    """A flat index, opened read-only and memory-mapped."""

    def __init__(self, path: Path) -> None:
        self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)

    @property
    def count(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Numbers of one vector."""
        return int(self._index.d)

    def vectors(self) -> NDArray[np.float32]:
        """Return all vectors, shape (n, dimension)."""
        out: NDArray[np.float32] = self._index.reconstruct_n(0, self.count)
        return out

    def search(
        self, queries: NDArray[np.float32], k: int, allow: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (scores, rows), each of shape (queries, k); -1 stands where fewer rows are allowed."""
        wanted = np.ascontiguousarray(queries, dtype=np.float32)
        if allow is None:
            scores, rows = self._index.search(wanted, k)
        else:
            chosen = faiss.SearchParameters(  # type: ignore[call-arg]
                sel=faiss.IDSelectorBatch(np.ascontiguousarray(allow, dtype=np.int64))
            )
            scores, rows = self._index.search(wanted, k, params=chosen)
        return scores, rows
