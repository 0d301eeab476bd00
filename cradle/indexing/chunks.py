"""The verb `chunk`: documents of a date → chunks of a date.

Flow: marts.*_documents on the branch of the date → marts.*_chunks on the same branch
Run:  cradle chunk demo
"""

from __future__ import annotations

import json
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle import names, releases
from cradle.catalog import Pin, Written, publish, read, resolve, summary_of, write_once
from cradle.catalog.run import Run, open_run, run_lock
from cradle.chunk import CHUNK_FORMAT, Chunk, chunk_document
from cradle.config import Settings
from cradle.digest import step_key
from cradle.errors import MissingStep
from cradle.outcomes import outcome

# documents table → (chunk table, corpus)
CORPORA = {
    "marts.products_documents": ("marts.products_chunks", "products", names.PRODUCTS),
    "marts.general_documents": ("marts.general_chunks", "general", names.DOCUMENTS),
}
TOLD: Final = ("title", "sku", "source_file")  # of a document, by each of its chunks
BATCH: Final = 4096  # documents whose chunks are Python objects at a time
SCHEMA = pa.schema(
    [
        pa.field("chunk_id", pa.string()),
        pa.field("document_id", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("heading", pa.string()),
        pa.field("text", pa.string()),
        pa.field("content_hash", pa.string()),
        pa.field("title", pa.string()),
        pa.field("sku", pa.string()),
        pa.field("source_file", pa.string()),
    ]
)


class ChunkResult(BaseModel):
    """What a run of `chunk` did: chunk table → rows, and which tables were written."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    chunks: dict[str, int]
    written: tuple[str, ...]


def chunk_documents(settings: Settings, customer: str, logical_date: date) -> ChunkResult:
    """Cut the documents of a date into chunks.

    Raises:
        MissingStep: the documents of the date were not built.
    """
    with outcome(settings, customer, "chunk", logical_date) as noted, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        made: dict[str, Written] = {}
        for documents, (chunks, _, role) in CORPORA.items():
            if role in run.roles:
                made[chunks] = _chunk(run, documents, chunks)
        if releases.may_publish(run.lake, logical_date):
            publish(run.lake, {table: one.pin.snapshot_id for table, one in made.items()})
        counts = {table: one.pin.rows for table, one in made.items()}
        written = tuple(table for table, one in made.items() if one.written)
        noted.counts = {"chunks": sum(counts.values()), "written": len(written)}
        noted.outputs = {"chunks": counts}
        return ChunkResult(customer=customer, logical_date=logical_date, chunks=counts, written=written)


def _chunk(run: Run, documents: str, chunks: str) -> Written:
    source = need(run, documents, "build")
    return write_once(
        run.lake,
        chunks,
        lambda: _rows(run, source, chunks),
        step_key=_key(run, chunks, source.content_digest),
        branch=run.branch,
        summary=summary_of(inputs=json.dumps({documents: source.content_digest})),
    )


def _key(run: Run, chunks: str, documents_digest: str) -> str:
    sizes = run.installation.chunking.model_dump()
    return step_key("chunk", table=chunks, input=documents_digest, sizes=sizes, chunk_format=CHUNK_FORMAT)


def _rows(run: Run, source: Pin, chunks: str) -> pa.Table:
    """Cut the documents that the current release does not have, and take the chunks of the others from it."""
    documents = _described(read(run.lake, source))
    before = _before(run, source.table, chunks)
    if before is None:
        return _cut(run, documents)
    same = pc.is_in(_fingerprints(documents), value_set=_fingerprints(_described(read(run.lake, before[0]))))
    kept = pc.is_in(
        before[1].column("document_id"), value_set=documents.filter(same).column("document_id").combine_chunks()
    )
    rows = pa.concat_tables([before[1].filter(kept), _cut(run, documents.filter(pc.invert(same)))])
    return rows.sort_by([("document_id", "ascending"), ("position", "ascending")])


def _before(run: Run, documents: str, chunks: str) -> tuple[Pin, pa.Table] | None:
    """Return the documents of the current release and their chunks; None when other parameters cut them."""
    current = None if run.lake.settings.full_refresh else releases.current(run.lake)
    if current is None or not {documents, chunks} <= current.pins.keys():
        return None
    known = resolve(run.lake, documents, str(current.pins[documents].snapshot_id))
    made = resolve(run.lake, chunks, str(current.pins[chunks].snapshot_id))
    if known is None or made is None or made.step_key != _key(run, chunks, known.content_digest):
        return None
    return known, read(run.lake, made).select(SCHEMA.names).cast(SCHEMA)


def _described(rows: pa.Table) -> pa.Table:
    """Return documents in the order of their ids, with all that their chunks tell of them."""
    for name in TOLD:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
    return rows.sort_by("document_id")


def _fingerprints(documents: pa.Table) -> pa.Array:
    columns = [documents.column(name).cast(pa.string()) for name in ("document_id", "content_hash", *TOLD)]
    told = pc.binary_join_element_wise(*columns, "\x1f", null_handling="replace", null_replacement="\x00")
    return told.combine_chunks()


def _cut(run: Run, documents: pa.Table) -> pa.Table:
    sizes = run.installation.chunking
    parts = [SCHEMA.empty_table()]
    for batch in documents.select(["document_id", "text", *TOLD]).to_batches(max_chunksize=BATCH):
        made, places = list[Chunk](), list[int]()
        for place, (name, text) in enumerate(zip(*(batch.column(at).to_pylist() for at in (0, 1)), strict=True)):
            found = chunk_document(name, text or "", max_chars=sizes.max_chars, overlap_chars=sizes.overlap_chars)
            made += found
            places += [place] * len(found)
        told = batch.select(TOLD).take(pa.array(places, pa.int64()))
        columns = {name: [getattr(one, name) for one in made] for name in SCHEMA.names if name not in TOLD}
        columns |= {name: told.column(name) for name in TOLD}
        parts.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(parts)


def need(run: Run, table: str, verb: str) -> Pin:
    """Return the pin of a table on the branch of the run's date.

    Raises:
        MissingStep: the verb that makes it has not run for this date.
    """
    pin = resolve(run.lake, table, run.branch)
    if pin is None:
        raise MissingStep(
            f"customer {run.customer.customer}: {table} was not made for {run.logical_date}. "
            f"Run `cradle {verb} {run.customer.customer} --date {run.logical_date}`."
        )
    return pin
