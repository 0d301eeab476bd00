"""What an image is searched by: where each chunk stands, the flat index and the words' index, both in the same parts.

Rows are in the order of corpus, document and chunk. A part ends where a chunk's own id says so (content-defined
chunking, as rsync and restic do it), so that an edited document changes its part and leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cradle.bake.export import EXPORT_FORMAT, write_parquet
from cradle.catalog import Lake, read
from cradle.digest import canonical_hash
from cradle.errors import MissingStep
from cradle.indexing.ledger import ledger_rows
from cradle.releases import Release
from cradle.vectors.digest import vector_matrix
from cradle.vectors.flat import write_flat
from cradle.words.index import WORDS_FORMAT, write_words

VECTORS_FORMAT: Final = f"2/{EXPORT_FORMAT}/{WORDS_FORMAT}"
PLACES: Final = "vectors/chunks.parquet"
CORPORA: Final = (("marts.general_chunks", "general"), ("marts.products_chunks", "products"))
ORDER: Final = ("corpus", "document_id", "chunk_id")
COLUMNS: Final = ("chunk_id", "document_id", "content_hash", "title", "text")
PART_ROWS: Final = 8192  # rows of a part on average, up to MOST_PARTS of them
MOST_PARTS: Final = 64  # engines stop at 127 layers


class Vectors:
    """Exports what one release is searched by; nothing is read from the lake before it is needed, and then once."""

    def __init__(self, lake: Lake, release: Release) -> None:
        self._lake, self._release = lake, release
        self._read: pa.Table | None = None
        self._known: pa.Table | None = None

    def export_places(self, folder: Path) -> list[dict[str, Any]]:
        """Write which chunk stands at which row; return the parts, each with its rows and its identities."""
        rows = self._rows()
        write_parquet(folder / PLACES, rows.select(list(ORDER)), ORDER)
        assert self._release.collection is not None
        hashes, titles = rows.column("content_hash").to_pylist(), rows.column("title").to_pylist()
        ends = cut(rows.column("chunk_id").to_pylist())
        key = self._release.collection.model_key
        return [
            {"start": start, "end": end, **identities(key, hashes[start:end], titles[start:end])}
            for start, end in zip([0, *ends], ends, strict=False)
        ]

    def export_part(self, part: dict[str, Any], folder: Path) -> None:
        """Write one part of the flat index, and the index of the words in the same chunks.

        Raises:
            MissingStep: a chunk has no vector in the pinned ledger.
        """
        rows = self._rows().slice(part["start"], part["end"] - part["start"])
        known = self._ledger()
        order = pc.index_in(rows.column("content_hash"), value_set=known.column("content_hash").combine_chunks())
        if order.null_count:
            raise MissingStep(
                f"release {self._release.short_id}: {order.null_count} chunk(s) have no vector in the pinned ledger. "
                f"Run `cradle night {self._release.customer}`."
            )
        for file in (part_file(part), words_file(part)):
            (folder / file).parent.mkdir()
        write_flat(folder / part_file(part), vector_matrix(known.column("embedding").take(order)))
        write_words(folder / words_file(part), searched(rows))

    def _rows(self) -> pa.Table:
        if self._read is None:
            parts = []
            for table, corpus in CORPORA:
                if table in self._release.pins:
                    rows = read(self._lake, self._release.pins[table], COLUMNS)
                    parts.append(rows.append_column("corpus", pa.repeat(pa.scalar(corpus), rows.num_rows)))
            self._read = pa.concat_tables(parts).sort_by([(name, "ascending") for name in ORDER])
        return self._read

    def _ledger(self) -> pa.Table:
        if self._known is None:
            collection, ledger = self._release.collection, self._release.ledger
            assert collection is not None
            assert ledger is not None
            hashes = self._rows().column("content_hash").unique().to_pylist()
            self._known = ledger_rows(self._lake, collection.model_key, hashes, str(ledger.snapshot_id))
        return self._known


def identities(model_key: str, hashes: list[str], titles: list[str | None]) -> dict[str, str]:
    """Return what a part of the vectors and one of the words are known by: all that decides what they hold."""
    return {"identity": canonical_hash([model_key, hashes]), "words": canonical_hash([hashes, titles])}


def searched(rows: pa.Table) -> Iterator[str]:
    """Yield the text of each chunk as it is searched by words: with its title, where the text does not hold it."""
    for title, text in zip(rows.column("title").to_pylist(), rows.column("text").to_pylist(), strict=True):
        yield f"{title}\n{text}" if title and title not in text else text


def part_file(part: dict[str, Any]) -> str:
    """Return the file of a part, named by what it holds: a part more or less renames no other."""
    return f"vectors/{part['identity'][:16]}.faiss"


def words_file(part: dict[str, Any]) -> str:
    """Return the file of the words of a part."""
    return f"words/{part['words'][:16]}.arrow"


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
