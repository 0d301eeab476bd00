"""What it costs to make the vectors searchable: the image's flat index beside Chroma, and Chroma's next night.

Vectors are those of real texts; one orthonormal matrix turns them into 1,024 dimensions, so that all angles stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.catalogue import ready, widened
from benchmarks.stage import Facts, Goal, Stage, Variant, bytes_below, same
from cradle.config import PROJECT, Settings
from cradle.examples.lightnet import FULL
from cradle.vectors.collection import write_rows

QUESTIONS = 200
NEIGHBOURS = 10
CHANGED = 100  # one of so many rows differs
given: dict[str, Any] = {}  # what a run's setup leaves to the run, in the same process


def prepare(folder: Path, products: int) -> None:
    """Write the chunks with their vectors, narrow and wide."""
    _, texts, found = ready(folder, products)
    np.save(folder / "wide.npy", widened(found))
    listed = pa.array(list(found), pa.list_(pa.float32()))
    write_rows(folder / "chunks.arrow", texts.append_column("embedding", listed))


def _chunks(inputs: Path) -> pa.Table:
    with pa.memory_map(str(inputs / "chunks.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def _asked(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors[np.linspace(0, len(vectors) - 1, min(QUESTIONS, len(vectors))).astype(np.int64)]


def recall(vectors: NDArray[np.float32], found: list[list[int]]) -> float:
    """Return the share of the exact neighbours that were found; ties at the last place count as found."""
    asked = _asked(vectors)
    k, good = min(NEIGHBOURS, len(vectors)), 0
    for question, rows in zip(asked, found, strict=True):
        scores = vectors @ question
        good += int((scores[rows] >= np.partition(scores, -k)[-k] - 1e-5).sum())
    return good / (len(asked) * k)


def load_vectors(inputs: Path, _: Path) -> None:
    """Read the vectors, which a night has in memory."""
    given["vectors"] = np.load(inputs / "wide.npy")


def flat(_: Path, scratch: Path) -> Facts:
    """Write the flat index of an image in its parts."""
    from cradle.vectors.flat import write_flat

    vectors = given["vectors"]
    size = max(len(vectors) // 16, 1)
    for at in range(0, len(vectors), size):
        write_flat(scratch / f"{at:08}.faiss", vectors[at : at + size])
    return {"rows": len(vectors), "figures": {"bytes per vector": bytes_below(scratch) / len(vectors)}}


def flat_recall(_: Path, scratch: Path) -> Facts:
    """Write it, and look for neighbours in it, against exact 32-bit vectors."""
    from cradle.vectors.flat import FlatIndex

    facts = flat(_, scratch)
    index = FlatIndex(*sorted(scratch.glob("*.faiss")))
    vectors = given["vectors"]
    _, rows = index.search(_asked(vectors), min(NEIGHBOURS, len(vectors)))
    facts["figures"]["recall@10"] = recall(vectors, rows.tolist())
    return facts


def chroma(_: Path, scratch: Path) -> Facts:
    """Fill a Chroma collection with the same vectors, as the factory does."""
    import chromadb

    vectors = given["vectors"]
    client = chromadb.PersistentClient(str(scratch), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("chunks", configuration={"hnsw": {"space": "ip", "ef_search": 100}})
    for at in range(0, len(vectors), 5000):
        part = vectors[at : at + 5000]
        collection.add(ids=[str(one) for one in range(at, at + len(part))], embeddings=part)
    return {"rows": collection.count(), "figures": {"bytes per vector": bytes_below(scratch) / len(vectors)}}


def _settings(home: Path) -> Settings:
    return Settings(home=home, customers=PROJECT / "data" / "customers")


def next_night(inputs: Path, scratch: Path) -> None:
    """Build the collection of the first night, and the rows of the next: one of a hundred is another text."""
    from cradle.vectors.collection import build_collection

    rows = _chunks(inputs)
    made, _ = build_collection(_settings(scratch), "lightnet", rows, "model")
    other = np.arange(rows.num_rows) % CHANGED == 0
    ids = [one[::-1] if turned else one for one, turned in zip(rows.column("chunk_id").to_pylist(), other, strict=True)]
    at = np.arange(rows.num_rows)
    at[other] = np.roll(at[other], 1)  # another text's vector, so that it is one of a real text
    mixed = rows.take(pa.array(at)).set_column(rows.column_names.index("chunk_id"), "chunk_id", pa.array(ids))
    given.update(rows=mixed, before=made.digest)


def _collected(scratch: Path, before: str | None) -> Facts:
    from cradle.vectors.collection import build_collection

    made, built = build_collection(_settings(scratch), "lightnet", given["rows"], "model", before)
    return {"digest": made.digest, "count": made.count, "built": built}


def changed(_: Path, scratch: Path) -> Facts:
    """Change a copy of the collection before, and verify it."""
    return _collected(scratch, given["before"])


def whole(_: Path, scratch: Path) -> Facts:
    """Build all of it anew, and verify it."""
    return _collected(scratch, None)


SIZES = {"smoke": 60, "reduced": 600, "full": FULL}
FLAT = Stage(
    name="index",
    title="Flat index of an image, 1,024 dimensions",
    unit="products",
    sizes=SIZES,
    prepare=prepare,
    variants=(
        Variant("flat", "Cradle: flat, 16 bits, in parts", flat, setup=load_vectors),
        Variant("flat and look", "the same, and 200 searches in it", flat_recall, setup=load_vectors),
        Variant("chroma", "Chroma, HNSW", chroma, setup=load_vectors),
    ),
    check=lambda facts: same(facts, "rows"),
    goals=(Goal(peer="chroma", at_least=20.0),),
    growth=500,
)
CHANGE = Stage(
    name="index-night",
    title="Next collection when 1 % of the chunks changed, verified",
    unit="products",
    sizes=SIZES,
    prepare=prepare,
    variants=(
        Variant("changed", "Cradle: a copy of the last one, changed", changed, setup=next_night),
        Variant("whole", "built whole", whole, setup=next_night),
    ),
    check=lambda facts: same(facts, "digest", "count"),
)
STAGES = (FLAT, CHANGE)
