"""Nights as they may be left behind, written straight into the lake and the outcomes: no data, no dbt, milliseconds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any, Literal, get_args

from cradle.catalog import open_lake, ops
from cradle.catalog.images import record_image_event
from cradle.config import Settings
from cradle.names import NIGHT
from cradle.releases import TABLE, Release

State = Literal[
    "well",
    "never started",
    "not ended",
    "failed",
    "no release",
    "no image",
    "not verified",
    "no outcome",
    "lost release",
    "doubled release",
]
STATES: tuple[State, ...] = get_args(State)
UNTIL: dict[State, int] = {"never started": 0, "not ended": 3, "failed": 2, "no release": 0, "no image": 6}


def release_of(customer: str, day: date, sequence: int = 1, content: str = "") -> Release:
    """A release that pins nothing."""
    digest = sha256(f"{customer} {day} {content}".encode()).hexdigest()
    return Release(
        release_id=digest,
        customer=customer,
        environment="dev_analytics",
        logical_date=day,
        sequence=sequence,
        attempt=1,
        epoch=1,
        params_hash="0" * 64,
        content_digest=digest,
        same_as=None,
        code_version="0",
        created_at=began(day),
        rejects=0,
        pins={},
        ledger=None,
        collection=None,
    )


def began(day: date) -> datetime:
    """When the run of a date begins: the next day at two."""
    return datetime.combine(day + timedelta(days=1), time(2), UTC)


def attempt(
    day: date, verb: str, minute: int, *, ok: bool = True, outputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """One attempt of a verb as its outcome tells it."""
    return {
        "verb": verb,
        "logical_date": str(day),
        "started_at": (began(day) + timedelta(minutes=minute)).isoformat(),
        "seconds": 30.0,
        "ok": ok,
        "error": None if ok else {"type": "BuildFailed", "message": f"{verb} failed. Run `cradle {verb}`."},
        "inputs": {},
        "counts": {"rows": 5},
        "outputs": outputs or {},
        "run": None,
        **more,
    }


def attempts_of(state: State, day: date, release: Release) -> list[dict[str, Any]]:
    """What a night of this state leaves in the outcomes."""
    verbs = NIGHT[: UNTIL.get(state, len(NIGHT) - (state == "not verified"))]
    found = [
        attempt(day, verb, at, outputs={"release": release.release_id} if verb == "release" else {})
        for at, verb in enumerate(verbs)
        if not (state == "no outcome" and verb == "release")
    ]
    return found + ([attempt(day, "chunk", 10, ok=False)] if state == "failed" else [])


def rows_of(state: State, day: date, release: Release) -> list[Release]:
    """Which release rows a night of this state leaves."""
    if state in ("never started", "not ended", "failed", "no release", "lost release"):
        return []
    return [release, release.model_copy(update={"sequence": 2})] if state == "doubled release" else [release]


def events_of(state: State) -> tuple[str, ...]:
    """Which events its image has."""
    return {"no image": (), "not verified": ("baked",)}.get(state, ("baked", "verified"))


def forge(settings: Settings, customer: str, day: date, state: State) -> None:
    """Leave behind what a night of this state does."""
    release = release_of(customer, day)
    for one in attempts_of(state, day, release):
        path = settings.outcomes(customer) / str(day) / f"{one['verb']}-{one['started_at'].replace(':', '')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(one))
    lake = open_lake(settings, customer)
    for made in rows_of(state, day, release):
        row = {"kind": "release", "attempt": 1, "logical_date": day, "sequence": made.sequence}
        row |= {"release_id": made.release_id, "row": made.model_dump_json(), "created_at": made.created_at}
        ops.append(lake, TABLE, ops.RELEASES, [row], f"{day} {made.sequence}")
        for event in events_of(state):
            record_image_event(lake, made.release_id, event, f"sha256:{made.release_id}", 1, [])
