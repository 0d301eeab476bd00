"""Compares the nights that should have been with what they left behind; no file and no server is asked here.

Flow: nights + evidence → findings, each with the command that puts it right
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cradle.outcomes import unrepaired
from cradle.reconcile.evidence import Evidence
from cradle.schedule import Night

SILENT = timedelta(hours=6)  # after which a night that has not ended is taken for dead
Kind = Literal[
    "never started",
    "not ended",
    "failed",
    "no release",
    "no image",
    "not verified",
    "no outcome",
    "lost release",
    "doubled release",
    "lost event",
    "event without release",
    "broken file",
    "not readable",
]


class Finding(BaseModel):
    """Something that is not as it should be, and the command that puts it right."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    customer: str
    logical_date: date | None
    text: str
    run: str


def findings(customer: str, expected: list[Night], known: Evidence, now: datetime) -> list[Finding]:
    """Return what is wrong with the expected nights, and with the releases of their dates, oldest first."""
    found: list[Finding] = []
    days = {one.logical_date for one in expected} | set(known.attempts)
    due = {one.logical_date for one in expected}
    for day in sorted(days):
        sign = known.last_sign(day)
        # What gave a sign of life just now is under way, unless it has said that it failed.
        under_way = sign is not None and now - sign < SILENT and not known.image(day)[1]
        seen = [_night, _outcomes, _doubled, _events] if not under_way else [_failed, _doubled]
        for look in seen:
            found += [
                Finding(kind=kind, customer=customer, logical_date=day, text=text, run=f"cradle {run}")
                for kind, text, run in look(customer, day, known, day in due)
            ]
    return found


Seen = Iterator[tuple[Kind, str, str]]
Look = Callable[[str, date, Evidence, bool], Seen]


def _night(customer: str, day: date, known: Evidence, due: bool) -> Seen:
    """Follow a night to the point at which it ended; only the first thing that is missing is told."""
    night = f"night {customer} --date {day}"
    failed = list(_failed(customer, day, known, due))
    attempts, release = known.of(day), known.newest(day)
    state = (known.runs or {}).get(day)
    digest, verified = known.image(day)
    if failed:
        yield from failed
    elif release is None and state == "success":
        yield "no release", f"Airflow says success for {day}, and there is no release of it.", night
    elif release is None and state == "failed":
        yield "failed", f"Airflow says failed for {day}, and no step left an outcome.", night
    elif release is None and (attempts or known.claims.get(day)):
        last = attempts[-1]["verb"] if attempts else "a build's claim"
        sign = known.last_sign(day)
        text = f"The night of {day} began and did not end: the last sign is {last}, at {sign:%F %R} UTC."
        yield "not ended", text, night
    elif release is None and due:
        yield "never started", f"The schedule asks for a night of {day}, and nothing of it was ever started.", night
    elif release is not None and digest is None:
        text = f"The release {release.short_id} of {day} has no image."
        yield "no image", text, f"bake {customer} --release {release.short_id}"
    elif release is not None and not verified:
        text = f"The image of {day}, {digest}, was not verified."
        yield "not verified", text, f"verify {customer} --release {release.short_id}"


def _failed(customer: str, day: date, known: Evidence, due: bool) -> Seen:
    for one in unrepaired(known.of(day)):
        said = " ".join(f"{one['error']['type']}: {one['error']['message']}".split())[:400]
        again = f"night {customer} --date {day}"
        yield "failed", f"{one['verb']} of {day} failed and was not repaired: {said}", again


def _outcomes(customer: str, day: date, known: Evidence, due: bool) -> Seen:
    """Hold release rows against the outcomes that wrote them."""
    rows = {one.release_id: one for one in known.releases if one.logical_date == day}
    ended = [one for one in known.of(day) if one["ok"] and one["verb"] == "release"]
    told = {one["outputs"].get("release") for one in ended}
    moved = {one["outputs"].get("sequence") for one in known.undated if one["verb"] == "rollback"}
    for release in rows.values():
        if release.release_id not in told and release.sequence not in moved:
            text = f"The release {release.short_id} of {day} has no outcome: the process that wrote its row died."
            yield "no outcome", text, f"release {customer} --date {day}"
    for one in sorted(told - rows.keys() - {None}):
        text = f"An outcome of {day} tells of the release {one[:12]}, and no such row is there: the catalog lost it."
        yield "lost release", text, f"repair {customer}"


def _doubled(customer: str, day: date, known: Evidence, due: bool) -> Seen:
    rows = [one for one in known.releases if one.logical_date == day]
    for before, after in pairwise(rows):
        if before.release_id == after.release_id:
            numbers = f"sequences {before.sequence} and {after.sequence}"
            text = f"The release {after.short_id} of {day} is there twice, with equal content ({numbers})."
            yield "doubled release", text, f"history {customer}"


def _events(customer: str, day: date, known: Evidence, due: bool) -> Seen:
    if known.asset_dates is None:
        return
    release = known.newest(day)
    if release is not None and day not in known.asset_dates:
        text = f"Airflow has no asset event for the release {release.short_id} of {day}: who waits for it does not run."
        yield "lost event", text, f"history {customer}"
    if release is None and day in known.asset_dates:
        text = f"Airflow has an asset event for {day}, and there is no release of it."
        yield "event without release", text, f"night {customer} --date {day}"
