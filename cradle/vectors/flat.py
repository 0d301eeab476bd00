"""The flat index of an image: every vector as 16-bit floats, searched exhaustively by inner product.

Deterministic bytes, any filter, and no build to speak of (DESIGN, section 8).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    """A flat index in one or several files, opened read-only and memory-mapped; rows count through all of them."""

    def __init__(self, *paths: Path) -> None:
        self._parts = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY) for path in paths]
        self._starts = np.cumsum([0, *(int(part.ntotal) for part in self._parts)])
        if len({int(part.d) for part in self._parts}) > 1:
            raise ValueError(f"the parts of the index differ in their dimension: {', '.join(map(str, paths))}")

    @property
    def count(self) -> int:
        """Number of vectors."""
        return int(self._starts[-1])

    @property
    def dimension(self) -> int:
        """Numbers of one vector."""
        return int(self._parts[0].d)

    def vectors(self) -> NDArray[np.float32]:
        """Return all vectors, shape (n, dimension)."""
        return np.vstack([part.reconstruct_n(0, int(part.ntotal)) for part in self._parts])

    def search(
        self, queries: NDArray[np.float32], k: int, allow: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (scores, rows), each of shape (queries, k); -1 stands where fewer rows are allowed."""
        wanted = np.ascontiguousarray(queries, dtype=np.float32)
        places = zip(self._parts, self._starts, strict=False)
        found = [one for part, start in places if (one := _scan(part, start, wanted, k, allow))]
        if not found:
            return np.full((len(wanted), k), -np.inf, np.float32), np.full((len(wanted), k), -1, np.int64)
        scores, rows = (np.hstack(parts) for parts in zip(*found, strict=True))
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)


def _scan(
    part: Any, start: int, wanted: NDArray[np.float32], k: int, allow: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """Search one part; None when none of its rows is allowed."""
    chosen = None
    if allow is not None:
        mine = allow[(allow >= start) & (allow < start + part.ntotal)] - start
        if not len(mine):
            return None
        chosen = faiss.SearchParameters(  # type: ignore[call-arg]
            sel=faiss.IDSelectorBatch(np.ascontiguousarray(mine, dtype=np.int64))
        )
    scores, rows = part.search(wanted, k, params=chosen)
    return scores, np.where(rows >= 0, rows + start, -1)
