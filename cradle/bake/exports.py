"""Whether the files of an image are, byte for byte, what the exporters make of the rows in them.

Exporters are deterministic, so a file can be made again from its own rows. Then nothing in it can differ that no
query shows: statistics that hide rows from a filter, an order that parts vectors from chunks, bytes nobody reads.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cradle.bake.export import keyed_rows, sorted_rows, write_key_index, write_parquet
from cradle.bake.vectors import COLUMNS, CORPORA, ORDER, cut, identities, part_file, searched, words_file
from cradle.digest import file_sha256
from cradle.errors import VerifyFailed
from cradle.lookup import lines
from cradle.manifest import Manifest, VectorsEntry
from cradle.vectors.flat import FlatIndex, write_flat
from cradle.words.index import read_words, write_words

NORM_ERROR = 0.01  # what 16-bit floats may add to the length of a vector


def check_exports(root: Path, manifest: Manifest) -> str:
    """Make every table's file and the vectors' files again and compare their bytes.

    Raises:
        VerifyFailed: a file is not what its rows export to; it is named.
    """
    for entry in manifest.tables.values():
        rows = _read(root / entry.file)
        _same_parquet(root, entry.file, rows, order_of(rows, entry.key))
        told, found = [(one.name, one.type) for one in entry.columns], columns_of(rows.schema)
        if told != found:
            differ = [f"{one} is told as {other}" for one, other in zip(found, told, strict=False) if one != other]
            raise VerifyFailed(f"{entry.file} has other columns than promised: {'; '.join(differ) or len(found)}")
    if manifest.vectors:
        _vectors(root, manifest, manifest.vectors)
    return f"{len(manifest.tables)} tables" + (f", {len(manifest.vectors.parts)} parts" if manifest.vectors else "")


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise VerifyFailed(f"{path.name} can't be read: {error}") from error


def columns_of(schema: pa.Schema) -> list[tuple[str, str]]:
    """Return the names of a table's columns and of their types, as a manifest tells them."""
    return [(field.name, str(field.type).removeprefix("large_")) for field in schema]


def order_of(rows: pa.Table, key: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns by which a table's file is sorted.

    Chunks of one text lie side by side: they compress well, and an edited text changes one place.
    """
    return ("document_id", "position") if "position" in rows.column_names else key


def _same_parquet(root: Path, file: str, rows: pa.Table, order: tuple[str, ...]) -> None:
    made_by = pq.read_metadata(root / file).created_by
    if made_by != f"parquet-cpp-arrow version {pa.__version__}":  # another version may write other bytes
        if not sorted_rows(rows, order).equals(rows):
            raise VerifyFailed(f"{file} is not sorted by {', '.join(order)}")
        return
    if not _same(root / file, lambda path: write_parquet(path, rows, order)):
        raise VerifyFailed(f"{file} is not what its own rows export to: its order or its statistics are damaged")


def check_key_index(path: Path, table: Path, key: tuple[str, ...]) -> None:
    """Compare a key index with what its table exports to, and name the row that differs.

    Raises:
        VerifyFailed: it holds other rows than the table, or other bytes beside them.
    """
    if _same(path, lambda to: write_key_index(to, pq.read_table(table), key)):
        return
    index = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    with contextlib.closing(index), pq.ParquetFile(table) as parquet:
        if index.execute("pragma integrity_check").fetchone()[0] != "ok":
            raise VerifyFailed(f"{path.name} is damaged")
        (count,) = index.execute("select count(*) from rows").fetchone()
        if count != parquet.metadata.num_rows:
            raise VerifyFailed(f"{path.name} holds {count} rows, {table.name} {parquet.metadata.num_rows}")
        blocks = {block: lines(size, data) for block, size, data in index.execute("select * from blocks")}
        found = {one: blocks[block][place] for one, block, place in index.execute("select * from rows")}
        for group in range(parquet.num_row_groups):
            for one, row in keyed_rows(parquet.read_row_group(group), key):
                if found.get(one) != row:
                    raise VerifyFailed(f"{path.name} holds another row than {table.name} at {one!r}")
        (free,) = index.execute("pragma freelist_count").fetchone()
        known = {name for (name,) in index.execute("select name from sqlite_master")}
    # Another version of SQLite may write other bytes; it leaves no room for rows that nobody asks for either.
    if free or known != {"rows", "blocks"} or _written_by(path) == apsw.sqlite_lib_version():
        raise VerifyFailed(f"{path.name} holds the rows of {table.name}, and other bytes around them")


def _written_by(path: Path) -> str:
    """Return the version of SQLite that wrote a file."""
    with path.open("rb") as stream:
        number = int.from_bytes(stream.read(100)[96:100], "big")
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _same(path: Path, write: Callable[[Path], Any]) -> bool:
    with tempfile.TemporaryDirectory(prefix="cradle-export-") as folder:
        again = Path(folder) / "again"
        write(again)
        return file_sha256(again) == file_sha256(path)


def chunk_rows(root: Path, manifest: Manifest, columns: tuple[str, ...]) -> pa.Table:
    """Return columns of all chunks of an image and their corpus, in the order of the vectors."""
    parts = []
    for table, corpus in CORPORA:
        if table in manifest.tables:
            rows = pq.read_table(root / manifest.tables[table].file, columns=list(columns))
            parts.append(rows.append_column("corpus", pa.repeat(pa.scalar(corpus), rows.num_rows)))
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in ORDER])


def _vectors(root: Path, manifest: Manifest, entry: VectorsEntry) -> None:
    rows = chunk_rows(root, manifest, COLUMNS)
    places = _read(root / entry.chunks)
    if not places.equals(rows.select(list(ORDER)).cast(places.schema)):
        raise VerifyFailed(f"{entry.chunks} names other chunks than the tables hold, or in another order")
    _same_parquet(root, entry.chunks, places, ORDER)
    hashes, titles = rows.column("content_hash").to_pylist(), rows.column("title").to_pylist()
    ends = cut(rows.column("chunk_id").to_pylist())
    assert manifest.encoder is not None
    if len(entry.parts) != len(ends) or len(entry.words) not in (0, len(ends)):
        raise VerifyFailed(f"the vectors are in {len(entry.parts)} parts where their chunks make {len(ends)}")
    for at, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        known = identities(manifest.encoder.model_key, hashes[start:end], titles[start:end])
        if entry.parts[at] != part_file(known):
            raise VerifyFailed(f"{entry.parts[at]} is not the part of the vectors of rows {start} to {end - 1}")
        _part(root, entry.parts[at], hashes[start:end], normalized=manifest.encoder.normalize)
        if entry.words:
            if entry.words[at] != words_file(known):
                raise VerifyFailed(f"{entry.words[at]} is not the index of the words of rows {start} to {end - 1}")
            _words(root / entry.words[at], rows.slice(start, end - start))


def _words(path: Path, rows: pa.Table) -> None:
    with tempfile.TemporaryDirectory(prefix="cradle-export-") as folder:
        again = Path(folder) / path.name
        write_words(again, searched(rows))
        if file_sha256(again) == file_sha256(path):
            return
        try:
            made, found = read_words(again), read_words(path)
            # Another version of Arrow may write other bytes.
            other = made.schema.metadata != found.schema.metadata
            if other:
                found.validate(full=True)
            same = other and made.equals(found)
        except (pa.ArrowException, OSError) as error:
            raise VerifyFailed(f"{path.name} can't be read: {error}") from error
        if not same:
            raise VerifyFailed(f"{path.name} is not the index of the words of its chunks")


def _part(root: Path, file: str, hashes: list[str], *, normalized: bool) -> None:
    vectors = FlatIndex(root / file).vectors()
    if len(vectors) != len(hashes):
        raise VerifyFailed(f"{file} holds {len(vectors)} vectors for {len(hashes)} chunks")
    if not _same(root / file, lambda path: write_flat(path, vectors)):
        raise VerifyFailed(f"{file} is not what its own vectors export to")
    length = np.linalg.norm(vectors, axis=1)
    wrong = ~np.isfinite(length) | (normalized & (np.abs(length - 1) > NORM_ERROR))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise VerifyFailed(f"{file}: vector {row} is no unit vector, its length is {length[row]:.4f}")
    first = {one: at for at, one in reversed(list(enumerate(hashes)))}
    twin = np.array([first[one] for one in hashes])
    if not np.array_equal(vectors, vectors[twin]):
        row = int(np.argmax((vectors != vectors[twin]).any(axis=1)))
        raise VerifyFailed(f"{file}: vectors {row} and {twin[row]} differ, and are of the same text")
