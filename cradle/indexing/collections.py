"""The verb `index`: chunks and their vectors → a verified Chroma collection, pinned by its digest.

Flow: marts.*_chunks + vectors.embeddings → collections/<digest>/ → one row in vectors.collections
Run:  cradle index demo
"""

from __future__ import annotations

import json
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle import names, releases
from cradle.catalog import Pin, read, summary_of, write_once
from cradle.catalog.pins import history_of
from cradle.catalog.run import Run, open_run, run_lock
from cradle.config import Settings
from cradle.digest import step_key
from cradle.embed import model_folder, model_key
from cradle.errors import MissingStep
from cradle.indexing.chunks import CORPORA, need
from cradle.indexing.ledger import ledger_rows
from cradle.outcomes import outcome
from cradle.vectors.collection import Collection, build_collection, committed, folder_of

SCHEMA = pa.schema(
    [
        pa.field("digest", pa.string()),
        pa.field("count", pa.int64()),
        pa.field("dimension", pa.int32()),
        pa.field("model_key", pa.string()),
    ]
)


class IndexResult(BaseModel):
    """The collection of a date; `built` tells whether this run made it."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    digest: str
    count: int
    dimension: int
    model_key: str
    built: bool


def index_chunks(settings: Settings, customer: str, logical_date: date) -> IndexResult:
    """Build the collection of a date, or find it.

    Raises:
        MissingStep: chunks or vectors of the date are missing.
        VerifyFailed: the collection does not hold what it was given.
    """
    with outcome(settings, customer, "index", logical_date) as noted, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        embedding = run.installation.embedding
        key = model_key(model_folder(settings, embedding), embedding)
        pins = {chunks: need(run, chunks, "chunk") for chunks, _, role in CORPORA.values() if role in run.roles}
        known = None if settings.full_refresh else _known(run, pins, key)
        made, built = known or build_collection(settings, customer, collection_rows(run, pins, key), key, _before(run))
        _record(run, pins, made)
        noted.counts = {"count": made.count, "built": built}
        noted.outputs = made.model_dump()
        return IndexResult(customer=customer, logical_date=logical_date, **made.model_dump(), built=built)


def _known(run: Run, pins: dict[str, Pin], key: str) -> tuple[Collection, bool] | None:
    """Return the collection that these chunks and this model gave before, and that nothing was built; no row is read.

    What a text's vector is never changes, so that the digest of the chunks decides.
    """
    inputs = json.dumps(_inputs(pins))
    for pin, told in reversed(history_of(run.lake, names.COLLECTIONS)):
        if told.get("cradle.inputs") == inputs and told.get("cradle.model-key") == key:
            (row,) = read(run.lake, pin).to_pylist()
            made = committed(folder_of(run.lake.settings, run.customer.customer, row["digest"]))
            return (made, False) if made else None
    return None


def _inputs(pins: dict[str, Pin]) -> dict[str, str]:
    return {table: pin.content_digest for table, pin in pins.items()}


def collection_rows(run: Run, pins: dict[str, Pin], key: str) -> pa.Table:
    """Join the chunks of both corpora with their vectors.

    Raises:
        MissingStep: a chunk has no vector in the ledger.
    """
    parts = []
    for chunks, corpus, _ in CORPORA.values():
        if chunks in pins:
            rows = read(run.lake, pins[chunks])
            parts.append(rows.append_column("corpus", pa.repeat(pa.scalar(corpus), rows.num_rows)))
    if not parts:
        columns = ("chunk_id", "content_hash", "text", "corpus", "document_id", "heading", "title")
        return (
            pa.table({name: pa.array([], pa.string()) for name in columns})
            .append_column("position", pa.array([], pa.int32()))
            .append_column("embedding", pa.array([], pa.list_(pa.float32())))
        )
    rows = pa.concat_tables(parts)
    hashes = rows.column("content_hash")
    vectors = ledger_rows(run.lake, key, hashes.unique().to_pylist())
    order = pc.index_in(hashes, value_set=vectors.column("content_hash").combine_chunks())
    if order.null_count:
        raise MissingStep(
            f"customer {run.customer.customer}: {order.null_count} chunk(s) of {run.logical_date} have no vector. "
            f"Run `cradle embed {run.customer.customer} --date {run.logical_date}`."
        )
    return rows.append_column("embedding", vectors.column("embedding").take(order)).sort_by("chunk_id")


def _before(run: Run) -> str | None:
    """Return the digest of the current release's collection; none of another epoch, which builds anew."""
    current = releases.current(run.lake)
    return current.collection.digest if current and current.collection and current.epoch == run.epoch else None


def _record(run: Run, pins: dict[str, Pin], made: Collection) -> None:
    inputs = _inputs(pins)
    write_once(
        run.lake,
        names.COLLECTIONS,
        pa.Table.from_pylist([made.model_dump()], schema=SCHEMA),
        step_key=step_key("index", inputs=inputs, collection=made.digest),
        branch=run.branch,
        summary=summary_of(inputs=json.dumps(inputs), model_key=made.model_key),
    )
