"""The vectors of an image: where each chunk stands, and the flat index in parts.

Rows are in the order of corpus, document and chunk. A part ends where a chunk's own id says so (content-defined
chunking, as rsync and restic do it), so that an edited document changes its part and leaves the others as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from cradle.bake.export import EXPORT_FORMAT, write_parquet
from cradle.catalog import Lake, read
from cradle.digest import canonical_hash
from cradle.errors import MissingStep
from cradle.indexing.ledger import ledger_rows
from cradle.releases import Release
from cradle.vectors.digest import vector_matrix
from cradle.vectors.flat import write_flat

VECTORS_FORMAT: Final = f"1/{EXPORT_FORMAT}"
PLACES: Final = "vectors/chunks.parquet"
CORPORA: Final = (("marts.general_chunks", "general"), ("marts.products_chunks", "products"))
ORDER: Final = ("corpus", "document_id", "chunk_id")
PART_ROWS: Final = 8192  # rows of a part on average, up to MOST_PARTS of them
MOST_PARTS: Final = 64  # engines stop at 127 layers


class Vectors:
    """Exports the vectors of one release; nothing is read from the lake before it is needed."""

    def __init__(self, lake: Lake, release: Release) -> None:
        self._lake, self._release = lake, release
        self._read: pa.Table | None = None

    def export_places(self, folder: Path) -> list[dict[str, Any]]:
        """Write which chunk stands at which row; return the parts, each with its rows and its identity."""
        rows = self._rows()
        write_parquet(folder / PLACES, rows.select(list(ORDER)), ORDER)
        assert self._release.collection is not None
        hashes = rows.column("content_hash").to_pylist()
        ends = cut(rows.column("chunk_id").to_pylist())
        key = self._release.collection.model_key
        return [
            {"start": start, "end": end, "identity": canonical_hash([key, hashes[start:end]])}
            for start, end in zip([0, *ends], ends, strict=False)
        ]

    def export_part(self, part: dict[str, Any], folder: Path) -> None:
        """Write one part of the flat index.

        Raises:
            MissingStep: a chunk has no vector in the pinned ledger.
        """
        collection, ledger = self._release.collection, self._release.ledger
        assert collection is not None
        assert ledger is not None
        hashes = self._rows().column("content_hash").to_pylist()[part["start"] : part["end"]]
        known = ledger_rows(self._lake, collection.model_key, sorted(set(hashes)), str(ledger.snapshot_id))
        place = {one: at for at, one in enumerate(known.column("content_hash").to_pylist())}
        missing = [one for one in hashes if one not in place]
        if missing:
            raise MissingStep(
                f"release {self._release.short_id}: {len(missing)} chunk(s) have no vector in the pinned ledger. "
                f"Run `cradle night {self._release.customer}`."
            )
        order = pa.array([place[one] for one in hashes], pa.int64())
        target = folder / part_file(part)
        target.parent.mkdir()
        write_flat(target, vector_matrix(known.column("embedding").take(order)))

    def _rows(self) -> pa.Table:
        if self._read is None:
            parts = []
            for table, corpus in CORPORA:
                if table in self._release.pins:
                    rows = read(self._lake, self._release.pins[table], ("chunk_id", "document_id", "content_hash"))
                    parts.append(rows.append_column("corpus", pa.repeat(pa.scalar(corpus), rows.num_rows)))
            self._read = pa.concat_tables(parts).sort_by([(name, "ascending") for name in ORDER])
        return self._read


def part_file(part: dict[str, Any]) -> str:
    """Return the file of a part, named by what it holds: a part more or less renames no other."""
    return f"vectors/{part['identity'][:16]}.faiss"


def cut(chunk_ids: list[str]) -> list[int]:
    """Return where the parts end; the last end is the number of rows."""
    size = PART_ROWS
    while len(chunk_ids) > size * MOST_PARTS // 2:
        size *= 2
    ends, start = [], 0
    for at, chunk_id in enumerate(chunk_ids):
        held = at - start
        if held >= size // 8 and (int(chunk_id[:8], 16) % size == 0 or held >= size * 4):
            ends.append(at)
            start = at
    return [*ends, len(chunk_ids)]
