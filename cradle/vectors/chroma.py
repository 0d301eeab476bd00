"""What runs in the child processes: build a Chroma collection from Arrow rows, or check one against them.

Run by cradle.vectors.collection only: python -m cradle.vectors.chroma build|check FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pyarrow as pa
from chromadb.config import Settings as ChromaSettings

from cradle.vectors.collection import NAME
from cradle.vectors.digest import METADATA, vector_matrix

BATCH = 5000
PROBES = 50  # vectors whose neighbours are compared with brute force
MIN_OVERLAP = 0.95
NEIGHBOURS = 10


def _client(folder: Path) -> Any:
    return chromadb.PersistentClient(str(folder / "store"), settings=ChromaSettings(anonymized_telemetry=False))


def _rows(folder: Path) -> pa.Table:
    with pa.OSFile(str(folder / "rows.arrow")) as stream:
        return pa.ipc.open_file(stream).read_all().sort_by("chunk_id")


def build(folder: Path) -> None:
    """Fill a new collection."""
    rows = _rows(folder)
    collection = _client(folder).create_collection(
        NAME, embedding_function=None, configuration={"hnsw": {"space": "ip", "ef_search": 100}}
    )
    for at in range(0, rows.num_rows, BATCH):
        part = rows.slice(at, BATCH)
        collection.add(
            ids=part.column("chunk_id").to_pylist(),
            embeddings=vector_matrix(part.column("embedding")),
            documents=part.column("text").to_pylist(),
            metadatas=[{name: _value(row[name]) for name in METADATA} for row in part.select(METADATA).to_pylist()],
        )


def _value(value: Any) -> Any:
    return "" if value is None else value


def check(folder: Path) -> None:
    """Compare a collection with the rows it was made of: ids, vectors, neighbours; end with an error if it differs."""
    rows = _rows(folder)
    collection = _client(folder).get_collection(NAME, embedding_function=None)
    ids = rows.column("chunk_id").to_pylist()
    stored = collection.get(include=["embeddings"])
    if sorted(stored["ids"]) != ids:
        sys.exit(f"{len(stored['ids'])} ids stand in the collection where {len(ids)} were given")
    if not ids:
        return
    order = np.argsort(np.array(stored["ids"]))
    have, given = np.asarray(stored["embeddings"], np.float32)[order], vector_matrix(rows.column("embedding"))
    if not np.isfinite(given).all() or not np.array_equal(have, given):
        sys.exit("the vectors in the collection are not those of the ledger")
    overlap = _overlap(collection, given, ids)
    if overlap < MIN_OVERLAP:
        sys.exit(f"only {overlap:.3f} of the nearest neighbours are found, less than {MIN_OVERLAP}")


def _overlap(collection: Any, vectors: np.ndarray, ids: list[str]) -> float:
    """Return the share of exact neighbours that the collection finds; ties at the last place count as found."""
    probes = np.linspace(0, len(ids) - 1, min(PROBES, len(ids))).astype(int)
    k = min(NEIGHBOURS, len(ids))
    found = collection.query(query_embeddings=vectors[probes], n_results=k, include=[])["ids"]
    place = {one: at for at, one in enumerate(ids)}
    good = 0
    for probe, names in zip(probes, found, strict=True):
        scores = vectors @ vectors[probe]
        last = np.sort(scores)[-k] - 1e-5
        good += sum(scores[place[name]] >= last for name in names)
    return good / (len(probes) * k)


if __name__ == "__main__":
    {"build": build, "check": check}[sys.argv[1]](Path(sys.argv[2]))
