"""Releases: one row that pins everything, and that all later steps and readers use.

Flow: branches `asof-<date>` → pins → tags → one row in `ops.releases`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import __version__, names
from cradle.catalog import Lake, Pin, ops, properties, publish, read, resolve, tag
from cradle.catalog.deliveries import as_of
from cradle.catalog.images import image_events, record_image_event
from cradle.catalog.run import Run, open_run, run_lock
from cradle.config import Settings
from cradle.digest import content_digest_of, release_id_of, step_key
from cradle.errors import Fenced, MissingStep
from cradle.outcomes import outcome
from cradle.points import point

__all__ = [
    "PinnedCollection",
    "PinnedTable",
    "Release",
    "append_release",
    "claim",
    "current",
    "find",
    "image_events",
    "may_publish",
    "newest_attempt",
    "record_image_event",
    "refuse_stale",
    "reject_rows",
    "release",
    "releases",
]

TABLE = "ops.releases"
SHORT = 12  # characters of a release id that people see


class PinnedTable(Pin):
    """A pin, and the key by which its rows are ordered and found; empty: no declared key."""

    key: tuple[str, ...]


class PinnedCollection(BaseModel):
    """The vectors of a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    count: int
    dimension: int
    model_key: str


class Release(BaseModel):
    """A release as its row says; `same_as` names the logical date of the first release with this content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release_id: str
    customer: str
    environment: str
    logical_date: date
    sequence: int
    attempt: int
    epoch: int
    params_hash: str
    content_digest: str
    same_as: date | None
    code_version: str
    created_at: datetime
    rejects: int
    pins: dict[str, PinnedTable]
    ledger: Pin | None
    collection: PinnedCollection | None

    @property
    def short_id(self) -> str:
        """The part of the id that people see."""
        return self.release_id[:SHORT]

    @property
    def tag(self) -> str:
        """Tag that keeps its snapshots."""
        return f"release-{self.short_id}"


def releases(lake: Lake) -> list[Release]:
    """Return all releases in the order of (logical date, sequence); the last one is current."""
    rows = [Release.model_validate_json(row["row"]) for row in ops.rows(lake, TABLE) if row["kind"] == "release"]
    return sorted(rows, key=lambda release: (release.logical_date, release.sequence))


def current(lake: Lake) -> Release | None:
    """Return the release with the greatest (logical date, sequence)."""
    return max(releases(lake), key=lambda release: (release.logical_date, release.sequence), default=None)


def find(lake: Lake, *, release_id: str | None = None, logical_date: date | None = None) -> Release:
    """Return the current release, or the newest one of an id (12 or more characters) or of a date.

    Raises:
        MissingStep: there is no such release.
    """
    known = releases(lake)
    found = [
        release
        for release in known
        if (release_id is None or (len(release_id) >= SHORT and release.release_id.startswith(release_id)))
        and (logical_date is None or release.logical_date == logical_date)
    ]
    if not found:
        wanted = release_id or logical_date or "any date"
        have = ", ".join(f"{release.short_id} ({release.logical_date})" for release in known[-5:]) or "none yet"
        raise MissingStep(
            f"customer {lake.customer} has no release of {wanted} in {lake.environment}. There is: {have}. "
            f"Run `cradle night {lake.customer}` to make one."
        )
    return found[-1]


def may_publish(lake: Lake, logical_date: date) -> bool:
    """Tell whether a run of this date may move `main`: it is not older than the current release."""
    newest = current(lake)
    return newest is None or logical_date >= newest.logical_date


def claim(run: Run) -> int:
    """Take the next attempt number for this run's date; an attempt that is no longer the newest can't release."""
    while True:
        attempt = newest_attempt(run.lake, run.logical_date) + 1
        row = {"kind": "claim", "attempt": attempt, "logical_date": run.logical_date, "created_at": datetime.now(UTC)}
        key = step_key("claim", logical_date=run.logical_date.isoformat(), attempt=attempt)
        if ops.append(run.lake, TABLE, ops.RELEASES, [row], key).written:
            return attempt


def newest_attempt(lake: Lake, logical_date: date) -> int:
    """Return the newest attempt claimed for a date, 0 when there is none."""
    claimed = [
        row["attempt"]
        for row in ops.rows(lake, TABLE)
        if row["kind"] == "claim" and row["logical_date"] == logical_date
    ]
    return max(claimed, default=0)


def release(settings: Settings, customer: str, logical_date: date, attempt: int | None = None) -> Release:
    """Pin what the run of this date made, as one row; the same content on the same date is the same row.

    Raises:
        MissingStep: a table of this date is missing, or was made from another state of its input.
        Fenced: a newer attempt has begun.
    """
    with outcome(settings, customer, "release", logical_date) as record, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        made = _describe(run, attempt)
        record.inputs = {table: pin.snapshot_id for table, pin in made.pins.items()}
        known = [one for one in releases(run.lake) if one.logical_date == logical_date]
        unchanged = bool(known) and known[-1].release_id == made.release_id
        if not unchanged:
            append_release(run.lake, made)
        final = known[-1] if unchanged else made
        if may_publish(run.lake, logical_date):
            publish(run.lake, {table: pin.snapshot_id for table, pin in final.pins.items()})
        record.outputs = {"release": final.release_id, "sequence": final.sequence, "written": not unchanged}
        record.counts = {"tables": len(final.pins), "rejects": final.rejects}
        return final


def _describe(run: Run, attempt: int | None) -> Release:
    pins = _pins(run)
    collection = _collection(run, pins)
    known = releases(run.lake)
    content_digest = content_digest_of(
        {table: pin.content_digest for table, pin in pins.items()},
        collection.digest if collection else None,
        collection.model_key if collection else None,
    )
    release_id = release_id_of(content_digest, run.epoch, run.valid.params_hash)
    same = next((one for one in known if one.release_id == release_id), None)
    return Release(
        release_id=release_id,
        customer=run.customer.customer,
        environment=run.lake.environment,
        logical_date=run.logical_date,
        sequence=max((one.sequence for one in known), default=0) + 1,
        attempt=attempt if attempt is not None else newest_attempt(run.lake, run.logical_date),
        epoch=run.epoch,
        params_hash=run.valid.params_hash,
        content_digest=content_digest,
        same_as=(same.same_as or same.logical_date) if same else None,
        code_version=__version__,
        created_at=datetime.now(UTC),
        rejects=len(reject_rows(run)),
        pins=pins,
        ledger=resolve(run.lake, names.LEDGER) if collection else None,
        collection=collection,
    )


def _pins(run: Run) -> dict[str, PinnedTable]:
    wanted = names.release_tables(run.roles)
    declared = [source.key for source in run.installation.of_role(names.SALES) if source.key]
    if "marts.orders" in wanted and declared:
        wanted["marts.orders"] = declared[0]
    pins = {table: _pin(run, table, key) for table, key in wanted.items()}
    for table, pin in pins.items():
        refuse_stale(run, table, pin, pins)
    return pins


def _pin(run: Run, table: str, key: tuple[str, ...]) -> PinnedTable:
    pin = resolve(run.lake, table, run.branch)
    if pin is None:
        verb = "chunk" if table.endswith("_chunks") else "build"
        raise MissingStep(
            f"customer {run.customer.customer}: {table} was not made for {run.logical_date}. "
            f"Run `cradle {verb} {run.customer.customer} --date {run.logical_date}`."
        )
    return PinnedTable(**pin.model_dump(), key=key)


def refuse_stale(run: Run, table: str, pin: Pin, pins: Mapping[str, Pin]) -> None:
    """Raise MissingStep when a table was made from another state of a pinned table than the one that is pinned."""
    made_from: dict[str, str] = json.loads(properties(run.lake, pin).get("cradle.inputs", "{}"))
    for upstream, digest in made_from.items():
        if upstream in pins and pins[upstream].content_digest != digest:
            raise MissingStep(
                f"customer {run.customer.customer}: {table} of {run.logical_date} was made from another state of "
                f"{upstream}. Run `cradle night {run.customer.customer} --date {run.logical_date}`."
            )


def _collection(run: Run, pins: dict[str, PinnedTable]) -> PinnedCollection | None:
    chunked = {table for table in pins if table.endswith("_chunks")}
    if not chunked:
        return None
    pin = resolve(run.lake, names.COLLECTIONS, run.branch)
    if pin is None:
        raise MissingStep(
            f"customer {run.customer.customer}: no collection was made for {run.logical_date}. "
            f"Run `cradle index {run.customer.customer} --date {run.logical_date}`."
        )
    refuse_stale(run, names.COLLECTIONS, pin, pins)
    (row,) = read(run.lake, pin).to_pylist()
    return PinnedCollection(**row) if row["count"] else None


def reject_rows(run: Run) -> list[dict[str, Any]]:
    """Return the rejects of one date: those of its originals, and those of the staging models it was built from."""
    state = as_of(run.lake, run.installation, run.logical_date)
    keys = {original.step_key for role in state.roles for original in state.originals(role)}
    for model in names.STAGING_MODELS.values():
        pin = resolve(run.lake, names.table("staging", model), run.branch)
        keys |= {pin.step_key} if pin else set()
    return [row for row in ops.rows(run.lake, "ops.rejects") if row["step_key"] in keys]


def append_release(lake: Lake, made: Release) -> None:
    """Tag what a release pins, then add its row: from then on readers see it.

    Raises:
        Fenced: a newer attempt has begun.
    """
    for pin in (*made.pins.values(), *((made.ledger,) if made.ledger else ())):
        tag(lake, pin.table, pin.snapshot_id, made.tag)
    newest = newest_attempt(lake, made.logical_date)
    if made.attempt < newest:
        raise Fenced(
            f"customer {made.customer}: attempt {made.attempt} of {made.logical_date} was overtaken by attempt "
            f"{newest} and publishes nothing. See `cradle status {made.customer}`."
        )
    row = {
        "kind": "release",
        "attempt": made.attempt,
        "logical_date": made.logical_date,
        "sequence": made.sequence,
        "release_id": made.release_id,
        "row": made.model_dump_json(),
        "created_at": made.created_at,
    }
    point("release.before")
    key = step_key(
        "release", release=made.release_id, logical_date=made.logical_date.isoformat(), sequence=made.sequence
    )
    ops.append(lake, TABLE, ops.RELEASES, [row], key)
    point("release.after")
