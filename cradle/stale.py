"""Stale dates: releases that were made from what is no longer in force (DESIGN, section 4).

A snapshot says what it was made from, so nothing is built again to tell.
Flow: pins of a release → inputs of their snapshots, down to raw → compared with the originals in force for the date
"""

from __future__ import annotations

import json
from datetime import date

from pydantic import BaseModel, ConfigDict

from cradle import names
from cradle.catalog import Lake, Pin, open_lake
from cradle.catalog.deliveries import recorded, state
from cradle.catalog.epochs import Epoch, epochs, valid_at
from cradle.catalog.pins import history_of
from cradle.config import Settings
from cradle.releases import Release, releases


class StaleDate(BaseModel):
    """A date whose newest release would be made from something else today; `newest`: no released date is later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    logical_date: date
    release_id: str
    reasons: tuple[str, ...]
    newest: bool


def stale_dates(settings: Settings, customer: str) -> list[StaleDate]:
    """Return the released dates that a later correction, or an epoch accepted later, has made stale; oldest first.

    A date whose snapshots were not kept is left out: nobody can tell any more, and nobody reads it.
    """
    return stale_of(open_lake(settings, customer))


def newest_date_is_stale(settings: Settings, customer: str) -> date | None:
    """Return the newest released date when it is stale: a backfill ends by rebuilding it."""
    return next((one.logical_date for one in stale_dates(settings, customer) if one.newest), None)


def stale_of(lake: Lake) -> list[StaleDate]:
    """Return the stale dates of an opened lake."""
    newest = {one.logical_date: one for one in releases(lake)}
    known, accepted, snapshots = recorded(lake), epochs(lake), _Snapshots(lake)
    found = []
    for day, made in sorted(newest.items()):
        reasons = _epoch_accepted(made, accepted)
        if not reasons:
            in_force = state(known, next(one.installation for one in accepted if one.epoch == made.epoch), day)
            raw = {names.table("raw", role): in_force.digest(role) for role in in_force.roles}
            changed = snapshots.changed_below(made, raw)
            reasons = tuple(f"{table} has been corrected" for table in sorted(changed))
        if reasons:
            stale = StaleDate(logical_date=day, release_id=made.release_id, reasons=reasons, newest=day == max(newest))
            found.append(stale)
    return found


def _epoch_accepted(made: Release, accepted: list[Epoch]) -> tuple[str, ...]:
    """Say that another epoch holds for the date now than when it was released; one chosen by hand is no reason."""
    holds = valid_at(accepted, made.logical_date)
    held = [one for one in accepted if one.accepted_at <= made.created_at]
    chosen = bool(held) and valid_at(held, made.logical_date).epoch == holds.epoch
    if chosen or made.epoch == holds.epoch:
        return ()
    return (f"epoch {holds.epoch} holds, it was made with epoch {made.epoch}",)


class _Snapshots:
    """What the snapshots of a lake say that they were made from; each table is looked at once."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.known: dict[str, list[tuple[Pin, dict[str, str]]]] = {}

    def changed_below(self, made: Release, raw: dict[str, str]) -> set[str]:
        """Return the raw tables of which a release was made from another state than `raw` says."""
        if any(not self._is_kept(table, pin.snapshot_id) for table, pin in made.pins.items()):
            return set()
        return {one for table, pin in made.pins.items() for one in self._changed(table, pin.content_digest, raw)}

    def _is_kept(self, table: str, snapshot_id: int) -> bool:
        return any(pin.snapshot_id == snapshot_id for pin, _ in self._of(table))

    def _changed(self, table: str, content: str, raw: dict[str, str]) -> set[str]:
        """Equal content that was also made from what is in force now is not stale: nothing would be written."""
        told: set[str] = set()
        for inputs in [inputs for pin, inputs in self._of(table) if pin.content_digest == content]:
            told = set()
            for upstream, digest in inputs.items():
                if upstream in raw:
                    told |= {upstream} if raw[upstream] != digest else set()
                else:
                    told |= self._changed(upstream, digest, raw)
            if not told:
                return set()
        return told

    def _of(self, table: str) -> list[tuple[Pin, dict[str, str]]]:
        if table not in self.known:
            steps = history_of(self.lake, table)
            self.known[table] = [(pin, json.loads(summary.get("cradle.inputs", "{}"))) for pin, summary in steps]
        return self.known[table]
