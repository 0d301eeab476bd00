"""The inverted index of an image: which rows hold which terms, in one file per part of the rows.

A file holds whole numbers alone, so that equal texts give equal bytes on any machine; ranks are computed from them when
somebody asks. It is an Arrow file of one row and memory-mapped, so that opening it costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cradle.words.terms import TERMS_FORMAT, terms

WORDS_FORMAT: Final = f"1/{TERMS_FORMAT}/{pa.__version__}"
MOST: Final = 255  # a term more often in one row counts so often


def write_words(path: Path, texts: Iterable[str]) -> None:
    """Write the index of some texts; row i is the i-th text."""
    known: dict[str, int] = {}

    @lru_cache(maxsize=65_536)  # catalogues repeat their sentences
    def numbered(line: str) -> list[int]:
        return [known.setdefault(term, len(known)) for term in terms(line)]

    found: list[int] = []
    lengths: list[int] = []
    for text in texts:
        before = len(found)
        for line in text.split("\n"):
            found += numbered(line)
        lengths.append(len(found) - before)
    order = sorted(known, key=term_hash)
    place = np.empty(len(known), np.int64)
    place[[known[term] for term in order]] = np.arange(len(known))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    pairs = place[np.asarray(found, np.int64)] * max(len(lengths), 1) + rows
    pairs, counts = np.unique(pairs, return_counts=True)
    at, row = np.divmod(pairs, max(len(lengths), 1))
    small = np.uint16 if len(lengths) <= 1 << 16 else np.uint32
    columns = {
        "terms": pa.array([order], pa.list_(pa.string())),
        "hashes": _list(np.array([term_hash(term) for term in order], np.uint64)),
        "ends": _list(np.searchsorted(at, np.arange(len(order)), "right").astype(np.uint32)),
        "rows": _list(row.astype(small)),
        "counts": _list(np.minimum(counts, MOST).astype(np.uint8)),
        "lengths": _list(np.minimum(lengths, 65_535).astype(np.uint16)),
    }
    table = pa.table(columns).replace_schema_metadata({"format": WORDS_FORMAT})
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_words(path: Path) -> pa.Table:
    """Return the one row of a file, memory-mapped."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def term_hash(term: str) -> int:
    """Return the number under which a term stands."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")


def _list(values: NDArray[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), pa.array(values))


class Part:
    """One file of the index, memory-mapped."""

    def __init__(self, path: Path) -> None:
        table = read_words(path)
        self.terms: pa.Array = table.column("terms").chunk(0).values
        self.hashes, self.ends, self.rows, self.counts, self.lengths = (
            table.column(name).chunk(0).values.to_numpy() for name in ("hashes", "ends", "rows", "counts", "lengths")
        )

    def places(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return where terms stand; -1 for those that no row holds."""
        if not len(self.hashes):
            return np.full(len(hashes), -1)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, at, -1)

    def span(self, place: int) -> slice:
        """Return which entries of `rows` and `counts` are those of a term; none of one that is not there."""
        if place < 0:
            return slice(0, 0)
        return slice(int(self.ends[place - 1]) if place else 0, int(self.ends[place]))
