"""What runs in the child processes: build a Chroma collection from Arrow rows, change one into them, or check one.

Run by cradle.vectors.collection only: python -m cradle.vectors.chroma build|change|check FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from chromadb.config import Settings as ChromaSettings
from numpy.typing import NDArray

from cradle.vectors.collection import CHANGES, NAME, ROWS
from cradle.vectors.digest import METADATA, vector_matrix

BATCH = 5000
THREADS = 2  # that read a collection; each holds a batch
PROBES = 50  # vectors whose neighbours are compared with brute force
MIN_OVERLAP = 0.95
NEIGHBOURS = 10


def _client(folder: Path) -> Any:
    return chromadb.PersistentClient(str(folder / "store"), settings=ChromaSettings(anonymized_telemetry=False))


def _table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _places(rows: pa.Table) -> list[pa.ChunkedArray]:
    """Return the places of rows in the order of their ids, a batch each."""
    order = rows.select(["chunk_id"]).append_column("at", pa.array(np.arange(rows.num_rows))).sort_by("chunk_id")
    return [order.column("at").slice(at, BATCH) for at in range(0, rows.num_rows, BATCH)]


def _batches(rows: pa.Table) -> Iterator[pa.Table]:
    """Yield rows in the order of their ids."""
    return (rows.take(places) for places in _places(rows))


def build(folder: Path) -> None:
    """Fill a new collection."""
    collection = _client(folder).create_collection(
        NAME, embedding_function=None, configuration={"hnsw": {"space": "ip", "ef_search": 100}}
    )
    for part in _batches(_table(folder / ROWS)):
        collection.add(embeddings=vector_matrix(part.column("embedding")), **_plain(part))


def change(folder: Path) -> None:
    """Delete from a collection what is gone, add what is new, and change what is told otherwise."""
    collection = _client(folder).get_collection(NAME, embedding_function=None)
    rows, changes = _table(folder / ROWS), _table(folder / CHANGES)
    gone = changes.filter(pc.equal(changes.column("change"), "gone")).column("chunk_id").to_pylist()
    for at in range(0, len(gone), BATCH):
        collection.delete(ids=gone[at : at + BATCH])
    for part in _batches(_only(rows, changes, "told")):
        given = _plain(part)  # an id stands for a text, so that text and vector are the same
        collection.update(ids=given["ids"], metadatas=given["metadatas"])
    for part in _batches(_only(rows, changes, "new")):
        collection.add(embeddings=vector_matrix(part.column("embedding")), **_plain(part))


def _only(rows: pa.Table, changes: pa.Table, kind: str) -> pa.Table:
    wanted = changes.filter(pc.equal(changes.column("change"), kind)).column("chunk_id").combine_chunks()
    return rows.filter(pc.is_in(rows.column("chunk_id"), value_set=wanted))


def _plain(part: pa.Table) -> dict[str, Any]:
    return {
        "ids": part.column("chunk_id").to_pylist(),
        "documents": part.column("text").to_pylist(),
        "metadatas": [{name: _value(row[name]) for name in METADATA} for row in part.select(METADATA).to_pylist()],
    }


def _value(value: Any) -> Any:
    return "" if value is None else value


def check(folder: Path) -> None:
    """Compare a collection with its rows: ids, vectors, texts, metadata, neighbours; end where they differ."""
    rows = _table(folder / ROWS)
    collection = _client(folder).get_collection(NAME, embedding_function=None)
    if collection.count() != rows.num_rows:
        sys.exit(f"{collection.count()} ids stand in the collection where {rows.num_rows} were given")
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda places: _same(collection, rows.take(places)), _places(rows)))
    if not rows.num_rows:
        return
    overlap = _overlap(collection, rows)
    if overlap < MIN_OVERLAP:
        sys.exit(f"only {overlap:.3f} of the nearest neighbours are found, less than {MIN_OVERLAP}")


def _same(collection: Any, part: pa.Table) -> None:
    given = _plain(part)
    stored = collection.get(ids=given["ids"], include=["embeddings", "documents", "metadatas"])
    order = sorted(range(len(stored["ids"])), key=stored["ids"].__getitem__)
    if [stored["ids"][at] for at in order] != given["ids"]:
        sys.exit(f"only {len(order)} of {part.num_rows} ids that were given stand in the collection")
    vectors = vector_matrix(part.column("embedding"))
    have = np.asarray(stored["embeddings"], np.float32)[order]
    if not np.isfinite(vectors).all() or not np.array_equal(have, vectors):
        sys.exit("the vectors in the collection are not those of the ledger")
    for name in ("documents", "metadatas"):
        if [stored[name][at] for at in order] != given[name]:
            sys.exit(f"the {name} in the collection are not those of the chunks")


def _overlap(collection: Any, rows: pa.Table) -> float:
    """Return the share of exact neighbours that the collection finds; ties at the last place count as found."""
    ids: NDArray[Any] = np.array(rows.column("chunk_id").to_pylist())
    probes = np.linspace(0, len(ids) - 1, min(PROBES, len(ids))).astype(int)
    asked = vector_matrix(rows.column("embedding").take(pa.array(probes)))
    parts = [rows.column("embedding").slice(at, BATCH) for at in range(0, len(ids), BATCH)]
    scores = np.vstack([vector_matrix(part) @ asked.T for part in parts])
    k = min(NEIGHBOURS, len(ids))
    found = collection.query(query_embeddings=asked, n_results=k, include=[])["ids"]
    place = {one: at for at, one in enumerate(ids.tolist())}
    good = 0
    for probe, names in enumerate(found):
        last = np.partition(scores[:, probe], -k)[-k] - 1e-5
        good += sum(scores[place[name], probe] >= last for name in names)
    return good / (len(probes) * k)


if __name__ == "__main__":
    {"build": build, "change": change, "check": check}[sys.argv[1]](Path(sys.argv[2]))
