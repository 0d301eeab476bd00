"""The verb `ingest`: deliveries are recorded, originals kept, and their rows loaded once.

Flow: inbox → originals → rows (all text) → dlt → raw.<role>; rejects → ops.rejects; deliveries → ops.deliveries
Run:  cradle ingest demo
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle import names
from cradle.catalog import distinct
from cradle.catalog.deliveries import Delivery, File, Original, due, record, recorded, state
from cradle.catalog.run import Run, open_run
from cradle.config import Settings
from cradle.errors import ConfigError, InputError, NothingDelivered
from cradle.installation import Source
from cradle.outcomes import outcome
from cradle.releases import current
from cradle.store import fetch_inbox
from dlt_pipelines.inbox import keep, matching
from dlt_pipelines.loaded import Loaded
from dlt_pipelines.rejects import write_rejects


class SourceResult(BaseModel):
    """What one source gave; rows are those of originals that this run loaded."""

    model_config = ConfigDict(frozen=True)

    source: str
    deliveries: int
    originals: int
    loaded: int
    rows_read: int
    rows_accepted: int
    rows_rejected: int


class IngestResult(BaseModel):
    """What a run of `ingest` did."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    sources: tuple[SourceResult, ...]


def ingest(
    settings: Settings, customer: str, logical_date: date, sources: list[str] | None = None, *, claim: bool = True
) -> IngestResult:
    """Take what is due for a date and load every original in force that is not loaded yet.

    Args:
        sources: names of the sources to take; None: all.
        claim: look into the inbox; False: only load originals of deliveries that are recorded already.

    Raises:
        NothingDelivered: a source has nothing on or before the date.
        InputError: a file can't be read at all; it is in `ops.rejects`, and its delivery is not recorded.
    """
    with outcome(settings, customer, "ingest", logical_date) as noted:
        run = open_run(settings, customer, logical_date)
        chosen = _chosen(run, sources)
        noted.inputs = {"sources": [source.name for source in chosen]}  # a failure has to tell its source, too
        if claim:
            fetch_inbox(settings, customer)
        known = recorded(run.lake)
        fresh = {source.name: _due(run, source, known) if claim else [] for source in chosen}
        after = _merged(known, [delivery for found in fresh.values() for delivery in found])
        missing = _missing(run, chosen, after)
        readings = _load(run, missing) if missing else []
        write_rejects(run.lake, readings)
        _refuse_broken(run, readings)
        for source in chosen:
            record(run.lake, fresh[source.name])
        results = tuple(_result(source, len(fresh[source.name]), after, run, readings) for source in chosen)
        noted.counts = _totals(results)
        noted.outputs = {"files": [_file_line(one) for one in readings]}
        return IngestResult(customer=customer, logical_date=logical_date, sources=results)


def _chosen(run: Run, wanted: list[str] | None) -> list[Source]:
    have = {source.name: source for source in run.installation.sources}
    unknown = sorted(set(wanted or ()) - have.keys())
    if unknown:
        raise ConfigError(
            f"customer {run.customer.customer} has no source {', '.join(unknown)}. Known: {', '.join(have)}."
        )
    return [have[name] for name in wanted] if wanted else list(have.values())


def _due(run: Run, source: Source, known: list[Delivery]) -> list[Delivery]:
    settings, customer = run.lake.settings, run.customer.customer
    newest = current(run.lake)
    dates = [delivery.logical_date for delivery in known] + ([newest.logical_date] if newest else [])
    old = bool(dates) and run.logical_date < max(dates)
    paths = matching(settings.inbox(customer), source)
    with ThreadPoolExecutor(settings.threads) as pool:
        present = list(pool.map(lambda path: keep(settings, customer, path), _wanted(paths, run.logical_date, old)))
    found = due(source, present, known, run.logical_date, old=old)
    have = [delivery for delivery in known if delivery.source == source.name] + found
    if not any(delivery.logical_date <= run.logical_date for delivery in have):
        raise NothingDelivered(
            f"customer {customer}, source {source.name}: nothing delivered on or before {run.logical_date}. "
            f"Expected files: {', '.join(source.files)} in {settings.inbox(customer)}. Put them there and run "
            f"`cradle night {customer} --date {run.logical_date}`."
        )
    return found


def _wanted(paths: list[str], logical_date: date, old: bool) -> list[str]:
    """Leave out what this run may not claim, so that it is not read either."""
    dated = {path: File(path, "", 0).dated for path in paths}
    return [path for path, day in dated.items() if (day is None and not old) or (day and day <= logical_date)]


def _merged(known: list[Delivery], fresh: list[Delivery]) -> list[Delivery]:
    newest = {(delivery.source, delivery.logical_date): delivery for delivery in [*known, *fresh]}
    return [newest[key] for key in sorted(newest)]


def _missing(run: Run, chosen: list[Source], known: list[Delivery]) -> list[tuple[Original, Source]]:
    in_force = state(known, run.installation, run.logical_date)
    roles = {source.role for source in chosen}
    have = {role: distinct(run.lake, names.table("raw", role), names.STEP_KEY) for role in roles}
    by_name = {source.name: source for source in chosen}
    return [
        (original, by_name[original.source])
        for role in sorted(have)
        for original in in_force.originals(role)
        if original.source in by_name and original.step_key not in have[role]
    ]


def _load(run: Run, missing: list[tuple[Original, Source]]) -> list[Loaded]:
    from dlt_pipelines.load import load

    return load(run, missing)


def _refuse_broken(run: Run, readings: list[Loaded]) -> None:
    """Stop when a table's file can't be read at all; one broken document of many is only left out."""
    lines = []
    for one in readings:
        if one.source.role == names.DOCUMENTS:
            continue
        for batch in one.reading.reject_batches():
            for row in batch.filter(pc.equal(batch.column("scope"), "file")).to_pylist():
                lines.append(f"  {one.original.file.path}: {row['reason']}: {row['message']}")
    if lines:
        raise InputError(
            f"customer {run.customer.customer}: {len(lines)} file(s) can't be used; nothing of their delivery is "
            f"recorded, and there is no release of {run.logical_date} until they are delivered anew.\n"
            + "\n".join(lines)
        )


def _result(source: Source, deliveries: int, known: list[Delivery], run: Run, readings: list[Loaded]) -> SourceResult:
    mine = [one.reading for one in readings if one.source.name == source.name]
    in_force = state(known, run.installation, run.logical_date).originals(source.role)
    return SourceResult(
        source=source.name,
        deliveries=deliveries,
        originals=sum(original.source == source.name for original in in_force),
        loaded=len(mine),
        rows_read=sum(reading.rows_read for reading in mine),
        rows_accepted=sum(reading.rows_accepted for reading in mine),
        rows_rejected=sum(reading.rows_rejected for reading in mine),
    )


def _totals(results: tuple[SourceResult, ...]) -> dict[str, int]:
    fields = ("deliveries", "originals", "loaded", "rows_read", "rows_accepted", "rows_rejected")
    return {field: sum(getattr(result, field) for result in results) for field in fields}


def _file_line(one: Loaded) -> dict[str, object]:
    reading = one.reading
    return {
        "file": one.original.file.path,
        "sha256": one.original.file.sha256,
        "rows_read": reading.rows_read,
        "rows_accepted": reading.rows_accepted,
        "rows_rejected": reading.rows_rejected,
    }
