"""The flat index of an image: every vector as 16-bit floats, searched exhaustively by inner product.

Deterministic bytes, any filter, and no build to speak of (DESIGN, section 8).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

FEW: Final = 0.02  # share of a part's rows up to which they are read one by one instead of passed by a bitmap
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


def write_flat(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write vectors of shape (n, dimension) as a flat fp16 index."""
    index: Any = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.codes.resize(len(vectors) * int(index.code_size))
    index.ntotal = len(vectors)
    # Rounded by numpy, half to even: faiss rounds ties by the processor it finds, so bytes would differ.
    _halves(index)[...] = vectors
    faiss.write_index(index, str(path))


class FlatIndex:
    """A flat index in one or several files, opened read-only and memory-mapped; rows count through all of them.

    Args:
        threads: that scan the parts of one search.
    """

    def __init__(self, *paths: Path, threads: int = 1) -> None:
        # Of the two ways faiss maps a file into memory, this is the one that leaves flat codes where they are.
        self._parts = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC) for path in paths]
        self._starts = np.cumsum([0, *(int(part.ntotal) for part in self._parts)])
        if len({int(part.d) for part in self._parts}) > 1:
            raise ValueError(f"the parts of the index differ in their dimension: {', '.join(map(str, paths))}")
        self._halves = [_halves(part) for part in self._parts]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="flat") if threads > 1 else None

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
        return np.vstack([half.astype(np.float32) for half in self._halves])

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows, shape (rows, dimension)."""
        found = np.empty((len(rows), self.dimension), np.float32)
        places = np.searchsorted(self._starts, rows, "right") - 1
        for place in np.unique(places):
            here = places == place
            found[here] = self._halves[place][rows[here] - self._starts[place]]
        return found

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the inner products of one query, shape (dimension,), with some rows."""
        found: NDArray[np.float32] = self.at(rows) @ query
        return found

    def search(self, queries: NDArray[np.float32], k: int, allow: NDArray[np.bool_] | None = None) -> Found:
        """Return (scores, rows), each of shape (queries, k); -1 stands where fewer rows are allowed.

        Args:
            allow: tells of each row whether it may be found.
        """
        wanted = np.ascontiguousarray(queries, dtype=np.float32)

        def scan(place: int) -> Found | None:
            start, end = self._starts[place], self._starts[place + 1]
            found = self._scan(place, wanted, k, None if allow is None else allow[start:end])
            return found and (found[0], np.where(found[1] >= 0, found[1] + start, -1))

        places = range(len(self._parts))
        found = [one for one in (self._pool.map(scan, places) if self._pool else map(scan, places)) if one]
        empty = np.full((len(wanted), k), -np.inf, np.float32), np.full((len(wanted), k), -1, np.int64)
        scores, rows = (np.hstack(parts) for parts in zip(empty, *found, strict=True))
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)

    def _scan(self, place: int, wanted: NDArray[np.float32], k: int, allow: NDArray[np.bool_] | None) -> Found | None:
        """Search one part; None when none of its rows is allowed."""
        part = self._parts[place]
        if allow is None:
            found: Found = part.search(wanted, k)
            return found
        count = int(np.count_nonzero(allow))
        if not count:
            return None
        if count <= FEW * len(allow):
            rows = np.flatnonzero(allow)
            scores = wanted @ self._halves[place][rows].astype(np.float32).T
            return scores, np.broadcast_to(rows, scores.shape)
        bits = np.packbits(allow, bitorder="little")
        chosen: Any = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
        found = part.search(wanted, k, params=chosen)
        return found


def _halves(part: Any) -> NDArray[np.float16]:
    """Return the vectors of an index as it holds them, without a copy."""
    if not part.ntotal:
        return np.empty((0, int(part.d)), np.float16)
    codes = faiss.rev_swig_ptr(part.codes.data(), int(part.ntotal) * int(part.code_size))
    halves: NDArray[np.float16] = codes.view(np.float16).reshape(int(part.ntotal), int(part.d))
    return halves
