"""The verb `embed`: each text that no vector is known for is embedded, once for all time.

The ledger `vectors.embeddings` only grows; it is keyed by content hash and model key.
Flow: marts.*_chunks on the branch of the date → texts without a vector → vectors.embeddings
Run:  cradle embed demo
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle import names
from cradle.catalog import Lake, read_batches, resolve, summary_of, write_once
from cradle.catalog.run import Run, open_run
from cradle.config import Settings
from cradle.digest import step_key
from cradle.embed import PIECE, Places, Vectors, load_embedder, model_folder, model_key
from cradle.indexing.chunks import CORPORA, need
from cradle.log import get
from cradle.outcomes import outcome

log = get("embed")
PART = 8192  # texts of one commit: a restart loses at most the work of one part
PART_SECONDS = 300.0  # a part ends then, however few texts are done
EVERY_SECONDS = 5.0
Part = tuple[pa.Array, Vectors]
SCHEMA = pa.schema(
    [
        pa.field("content_hash", pa.string()),
        pa.field("model_key", pa.string()),
        pa.field("dimension", pa.int32()),
        pa.field("embedding", pa.list_(pa.float32())),
    ]
)


class EmbedResult(BaseModel):
    """What a run of `embed` did; `distinct` texts = `reused` + `embedded`."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    chunks: int
    distinct: int
    reused: int
    embedded: int
    seconds: float
    model_key: str


def embed_chunks(settings: Settings, customer: str, logical_date: date) -> EmbedResult:
    """Embed the distinct texts of a date that the ledger does not know yet.

    Raises:
        MissingStep: the chunks of the date were not made.
        ConfigError: the model's files are not there.
    """
    with outcome(settings, customer, "embed", logical_date) as noted:
        run = open_run(settings, customer, logical_date)
        embedding = run.installation.embedding
        key = model_key(model_folder(settings, embedding), embedding)
        hashes = pa.chunked_array(
            [one.column(0).cast(pa.string()) for one in _batches(run, "content_hash")], pa.string()
        )
        distinct = hashes.unique()
        snapshot, known = _known(run.lake, key)
        missing = distinct.filter(pc.invert(pc.is_in(distinct, value_set=known)))
        started = time.monotonic()
        if len(missing):
            _embed(run, key, missing, snapshot)
        result = EmbedResult(
            customer=customer,
            logical_date=logical_date,
            chunks=len(hashes),
            distinct=len(distinct),
            reused=len(distinct) - len(missing),
            embedded=len(missing),
            seconds=round(time.monotonic() - started, 2),
            model_key=key,
        )
        noted.counts = result.model_dump(include={"chunks", "distinct", "reused", "embedded"})
        noted.outputs = {"model": embedding.model, "model_key": key}
        return result


def _batches(run: Run, *columns: str) -> Iterator[pa.RecordBatch]:
    """Yield columns of the chunks of both corpora, piece by piece."""
    for chunks, _, role in CORPORA.values():
        if role in run.roles:
            yield from read_batches(run.lake, need(run, chunks, "chunk"), columns)


def _texts(run: Run, hashes: pa.Array, order: list[str]) -> Iterator[list[str]]:
    """Yield the texts of these hashes, each once, piece by piece; their hashes are appended to `order`."""
    seen, piece = set[str](), list[str]()
    for batch in _batches(run, "content_hash", "text"):
        rows = batch.filter(pc.is_in(batch.column(0).cast(pa.string()), value_set=hashes))
        for content_hash, text in zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True):
            if content_hash not in seen:
                seen.add(content_hash)
                order.append(content_hash)
                piece.append(text)
            if len(piece) == PIECE:
                yield piece
                piece = []
    if piece:
        yield piece


def known_hashes(lake: Lake, key: str) -> set[str]:
    """Return the content hashes for which the ledger has a vector of this model."""
    return set(_known(lake, key)[1].to_pylist())


def _known(lake: Lake, key: str) -> tuple[int | None, pa.Array]:
    """Return the ledger's snapshot and the hashes that it has a vector of this model for."""
    pin = resolve(lake, names.LEDGER)
    found = []
    if pin is not None and pin.rows:
        for batch in read_batches(lake, pin, ("content_hash", "model_key")):
            found.append(batch.filter(pc.equal(batch.column(1), key)).column(0).cast(pa.string()))
    return pin.snapshot_id if pin else None, pa.chunked_array(found, pa.string()).combine_chunks()


def _embed(run: Run, key: str, missing: pa.Array, snapshot: int | None) -> None:
    embedder = load_embedder(run.lake.settings, run.installation.embedding)
    order: list[str] = []
    found = told(embedder.embed(_texts(run, missing, order)), len(missing))
    for places, vectors in _parts(found, PART, PART_SECONDS):
        part = pa.array([order[at] for at in places], pa.string()), vectors
        snapshot = _append(run.lake, key, part, embedder.made_by, snapshot)


def told(
    found: Iterator[tuple[Places, Vectors]], total: int, say: Callable[[str], object] = log.info
) -> Iterator[tuple[Places, Vectors]]:
    """Pass on what is embedded, and say every few seconds how far it is, how fast, and how long it will take."""
    began = said = time.monotonic()
    done = 0
    for places, vectors in found:
        yield places, vectors
        done, now = done + len(places), time.monotonic()
        if now - said > EVERY_SECONDS and done < total:
            said, rate = now, done / (now - began)
            left = (total - done) / rate
            say(f"embedded {done:,} of {total:,} texts, {rate:,.0f} per second, {left:.0f} s to go")


def _parts(found: Iterator[tuple[Places, Vectors]], size: int, seconds: float) -> Iterator[tuple[Places, Vectors]]:
    """Gather what is embedded into parts of `size` texts; the last, and those that time ends, hold fewer."""
    held, count, since = list[tuple[Places, Vectors]](), 0, time.monotonic()
    for one in found:
        held.append(one)
        count += len(one[0])
        late = time.monotonic() - since > seconds
        if count < size and not late:
            continue
        places, vectors = (np.concatenate(column) for column in zip(*held, strict=True))
        full = len(places) if late else len(places) // size * size
        for at in range(0, full, size):
            yield places[at : min(at + size, full)], vectors[at : min(at + size, full)]
        held, count, since = [(places[full:], vectors[full:])], len(places) - full, time.monotonic()
    if count:
        places, vectors = (np.concatenate(column) for column in zip(*held, strict=True))
        yield places, vectors


def _append(lake: Lake, key: str, part: Part, made_by: str, snapshot: int | None) -> int:
    """Append a part to the ledger; what another process added since `snapshot` is left out. Return the snapshot."""
    hashes, vectors = part

    def rows() -> pa.Table | None:
        pin = resolve(lake, names.LEDGER)
        if pin is None or pin.snapshot_id == snapshot:
            return _table(key, hashes, vectors)
        new = pc.invert(pc.is_in(hashes, value_set=_known(lake, key)[1]))
        return (
            _table(key, hashes.filter(new), vectors[new.to_numpy(zero_copy_only=False)])
            if pc.any(new).as_py()
            else None
        )

    step = step_key("embed", model=key, hashes=hashes.to_pylist())
    written = write_once(lake, names.LEDGER, rows, step_key=step, mode="append", summary=summary_of(made_by=made_by))
    return written.pin.snapshot_id


def _table(key: str, hashes: pa.Array, vectors: Vectors) -> pa.Table:
    dimension = vectors.shape[1]
    offsets = pa.array(np.arange(0, vectors.size + 1, dimension, dtype=np.int32))
    columns = [
        hashes,
        pa.repeat(pa.scalar(key), len(hashes)),
        pa.repeat(pa.scalar(dimension, pa.int32()), len(hashes)),
        pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32())),
    ]
    return pa.table(columns, schema=SCHEMA)


def ledger_rows(lake: Lake, key: str, hashes: list[str], snapshot: str = "main") -> pa.Table:
    """Return content_hash and embedding of these hashes, as far as the ledger has them; others are never held."""
    wanted, schema = pa.array(hashes, pa.string()), SCHEMA.empty_table().select(["content_hash", "embedding"]).schema
    pin = resolve(lake, names.LEDGER, snapshot)
    found = []
    if pin is not None and pin.rows:
        for batch in read_batches(lake, pin, ("content_hash", "embedding", "model_key")):
            rows = pa.Table.from_batches([batch])
            mine = pc.and_(
                pc.equal(rows.column("model_key"), key), pc.is_in(rows.column("content_hash"), value_set=wanted)
            )
            found.append(rows.select(["content_hash", "embedding"]).filter(mine).cast(schema))
    return pa.concat_tables(found) if found else schema.empty_table()
