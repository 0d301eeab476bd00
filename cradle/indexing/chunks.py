"""The verb `chunk`: documents of a date → chunks of a date.

Flow: marts.*_documents on the branch of the date → marts.*_chunks on the same branch
Run:  cradle chunk demo
"""

from __future__ import annotations

import json
from datetime import date

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cradle import names, releases
from cradle.catalog import Pin, Written, publish, read, resolve, summary_of, write_once
from cradle.catalog.run import Run, open_run, run_lock
from cradle.chunk import CHUNK_FORMAT, chunk_document
from cradle.config import Settings
from cradle.digest import step_key
from cradle.errors import MissingStep
from cradle.outcomes import outcome

# documents table → (chunk table, corpus)
CORPORA = {
    "marts.products_documents": ("marts.products_chunks", "products", names.PRODUCTS),
    "marts.general_documents": ("marts.general_chunks", "general", names.DOCUMENTS),
}
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
    sizes = run.installation.chunking
    key = step_key(
        "chunk", table=chunks, input=source.content_digest, sizes=sizes.model_dump(), chunk_format=CHUNK_FORMAT
    )
    return write_once(
        run.lake,
        chunks,
        lambda: _rows(run, source),
        step_key=key,
        branch=run.branch,
        summary=summary_of(inputs=json.dumps({documents: source.content_digest})),
    )


def _rows(run: Run, source: Pin) -> pa.Table:
    sizes = run.installation.chunking
    rows = []
    for document in read(run.lake, source).sort_by("document_id").to_pylist():
        for chunk in chunk_document(
            document["document_id"],
            document["text"] or "",
            max_chars=sizes.max_chars,
            overlap_chars=sizes.overlap_chars,
        ):
            more = {name: document.get(name) for name in ("title", "sku", "source_file")}
            rows.append({**vars(chunk), **more})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


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
