"""One day of a preview: the verbs of the night run in the scratch lake, and what they did is told.

Vectors are not computed there: which texts lack one follows from the chunks and the ledger, and the collection of
the same chunks and model is the same one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from math import ceil

import pyarrow as pa

from cradle import names, releases
from cradle.backfill.scratch import Scratch, bring_originals
from cradle.backfill.told import DayPreview, SeenFile, SourcePreview, State, TablePreview
from cradle.catalog import Lake, Pin, asof_branch, read, resolve, summary_of, tables, write_once
from cradle.catalog.deliveries import Delivery, File, recorded
from cradle.catalog.pins import history_of
from cradle.catalog.run import Run, open_run
from cradle.digest import canonical_hash, step_key
from cradle.embed import model_folder, model_key
from cradle.errors import CradleError, Unavailable
from cradle.indexing import chunk_documents
from cradle.indexing.chunks import CORPORA, need
from cradle.indexing.collections import SCHEMA as COLLECTION
from cradle.indexing.ledger import PART, known_hashes
from cradle.installation import Source
from dbt_project.plugins.build import build
from dlt_pipelines.inbox import matching
from dlt_pipelines.ingest import ingest

LAYERS: tuple[names.Layer, ...] = ("raw", "staging", "marts", "vectors")


@dataclass
class Known:
    """What the days before have brought, beside what the scratch lake holds: vectors per model key, and images."""

    vectors: dict[str, set[str]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)


def preview_day(
    scratch: Scratch, day: date, known: Known, chosen: list[str] | None = None, *, rebuild: bool = False
) -> DayPreview:
    """Run a date in the scratch lake and tell what it did there; the next date sees it.

    Args:
        chosen: sources to take; None: all.
    """
    scratch.refresh()
    lake, found = scratch.lake, DayPreview(logical_date=day, rebuild=rebuild)
    rows, steps = _rows(lake, day), _steps(lake)
    missing = before = 0
    try:
        run = open_run(scratch.settings, scratch.customer, day)
        found = found.model_copy(update={"epoch": run.epoch})
        bring_originals(scratch, run)
        sources, failed = _ingest(scratch, run, chosen)
        found = found.model_copy(update={"sources": sources})
        if failed is not None:
            raise failed
        build(scratch.settings, scratch.customer, day)
        chunks = chunk_documents(scratch.settings, scratch.customer, day).chunks
        missing, before = _vectors(run, known)
        made = {"texts_to_embed": missing, "chunks_after": sum(chunks.values()), **_image(scratch, run, known)}
    except Unavailable:
        raise
    except CradleError as error:
        made = {"texts_to_embed": missing, "fails": f"{type(error).__name__}: {scratch.told(str(error))}"}
    told = [*_changes(lake, day, rows, steps), *_ledger(missing, before)]
    cut = [rows[name] for name, _, _ in CORPORA.values() if name in rows]
    return found.model_copy(
        update={"tables": tuple(told), "chunks_before": sum(pin.rows for pin in cut) if cut else None, **made}
    )


def _ingest(
    scratch: Scratch, run: Run, chosen: list[str] | None
) -> tuple[tuple[SourcePreview, ...], CradleError | None]:
    """Take the sources one by one, as the tasks of a night do; one that fails does not keep the others."""
    told, failed = [], list[CradleError]()
    for source in run.installation.sources:
        if chosen is not None and source.name not in chosen:
            continue
        before = recorded(run.lake)
        try:
            result = ingest(scratch.settings, scratch.customer, run.logical_date, [source.name]).sources[0]
            counts = {"in_force": result.originals, "rows_loaded": result.rows_accepted}
            counts |= {"rows_rejected": result.rows_rejected}
        except Unavailable:
            raise
        except CradleError as error:
            failed.append(error)
            counts = {}
        told.append(_source(scratch, source, before, recorded(run.lake)).model_copy(update=counts))
    return tuple(told), failed[0] if failed else None


def _source(scratch: Scratch, source: Source, before: list[Delivery], after: list[Delivery]) -> SourcePreview:
    old = {one.logical_date: one for one in before if one.source == source.name}
    claimed, withdrawn = list[SeenFile](), list[str]()
    for one in after:
        if one.source == source.name and one != old.get(one.logical_date):
            had: dict[str, File] = {file.path: file for file in old[one.logical_date].files} if one.version > 1 else {}
            has = {file.path: file for file in one.files}
            claimed += [
                SeenFile(path=path, bytes=file.bytes, logical_date=one.logical_date)
                for path, file in has.items()
                if file != had.get(path)
            ]
            withdrawn += had.keys() - has.keys()
    files = matching(scratch.settings.inbox(scratch.customer), source)
    state: State = "present" if claimed or withdrawn else "unchanged" if files else "gone"
    return SourcePreview(source=source.name, state=state, claimed=tuple(claimed), withdrawn=tuple(sorted(withdrawn)))


def _vectors(run: Run, known: Known) -> tuple[int, int]:
    """Stand in for `embed` and `index`; return how many texts lack a vector, and how many vectors there are."""
    embedding = run.installation.embedding
    key = model_key(model_folder(run.lake.settings, embedding), embedding)
    pins = {chunks: need(run, chunks, "chunk") for chunks, _, role in CORPORA.values() if role in run.roles}
    if key not in known.vectors:
        known.vectors[key] = known_hashes(run.lake, key)
    texts = {one for pin in pins.values() for one in read(run.lake, pin, ("content_hash",)).column(0).to_pylist()}
    missing = texts - known.vectors[key]
    ledger = resolve(run.lake, names.LEDGER)
    known.vectors[key] |= missing
    _collect(run, pins, key)
    return len(missing), ledger.rows if ledger else 0


def _collect(run: Run, pins: dict[str, Pin], key: str) -> None:
    inputs = {table: pin.content_digest for table, pin in pins.items()}
    count = sum(pin.rows for pin in pins.values())
    made = {"digest": canonical_hash([inputs, key]), "count": count, "dimension": 0, "model_key": key}
    for pin, summary in history_of(run.lake, names.COLLECTIONS):
        if json.loads(summary.get("cradle.inputs", "{}")) == inputs:
            row = read(run.lake, pin).to_pylist()[0]
            made = row if row["model_key"] == key else made
    write_once(
        run.lake,
        names.COLLECTIONS,
        pa.Table.from_pylist([made], schema=COLLECTION),
        step_key=step_key("index", inputs=inputs, collection=made["digest"]),
        branch=run.branch,
        summary=summary_of(inputs=json.dumps(inputs)),
    )


def _image(scratch: Scratch, run: Run, known: Known) -> dict[str, object]:
    """Release the date; a release that exists already has its image, and a new one needs a new one."""
    before = releases.releases(run.lake)
    baked = {row["release_id"] for row in releases.image_events(run.lake) if row["event"] == "baked"} | known.images
    made = releases.release(scratch.settings, scratch.customer, run.logical_date)
    known.images.add(made.release_id)
    own = [one for one in before if one.logical_date == run.logical_date]
    if made.release_id not in baked:
        return {"image": "new"}
    if own and own[-1].release_id == made.release_id:
        return {"image": "unchanged"}
    first = next(one for one in before if one.release_id == made.release_id)
    return {"image": "same", "same_as": first.logical_date}


def _rows(lake: Lake, day: date) -> dict[str, Pin]:
    """Return what stands for a date: raw tables hold all dates, the others have a branch for each."""
    refs = {table: "main" if layer == "raw" else asof_branch(day) for layer in LAYERS for table in tables(lake, layer)}
    pins = {table: resolve(lake, table, ref) for table, ref in refs.items()}
    return {table: pin for table, pin in pins.items() if pin is not None}


def _steps(lake: Lake) -> dict[str, int]:
    return {table: len(history_of(lake, table)) for layer in LAYERS for table in tables(lake, layer)}


def _changes(lake: Lake, day: date, rows: dict[str, Pin], steps: dict[str, int]) -> list[TablePreview]:
    now = _steps(lake)
    return [
        TablePreview(
            table=table,
            rows_before=rows[table].rows if table in rows else None,
            rows_after=pin.rows,
            snapshots=now[table] - steps.get(table, 0),
        )
        for table, pin in _rows(lake, day).items()
    ]


def _ledger(missing: int, before: int) -> list[TablePreview]:
    if not missing:
        return []
    commits = ceil(missing / PART)
    return [TablePreview(table=names.LEDGER, rows_before=before, rows_after=before + missing, snapshots=commits)]
