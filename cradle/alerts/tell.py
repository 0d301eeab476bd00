"""Raises alarms and tells recoveries: each cause once to each who wants to know.

Flow: alarms → causes, under one lock → messages in the outbox → channels
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from cradle import names
from cradle.alerts.alarm import NIGHT, Alarm, Kind, night
from cradle.alerts.causes import Cause, locked, open_causes, save, save_cause
from cradle.alerts.message import Entry, tell_alarms, tell_recovery
from cradle.alerts.outbox import deliver, put, waiting
from cradle.alerts.targets import Target, targets
from cradle.config import Settings
from cradle.log import get
from cradle.points import point

log = get("alerts")


@dataclass(frozen=True)
class Told:
    """How many messages were made, how many went out now (older ones too), and how many wait for their channel."""

    messages: int
    sent: int
    waiting: int


def raise_alarms(settings: Settings, alarms: list[Alarm], now: datetime | None = None) -> Told:
    """Tell whoever has not been told of these causes; a channel that is down raises nothing."""
    moment = now or datetime.now(UTC)
    causes: dict[str, Cause] = {}
    due: dict[tuple[Target, str], dict[str, Entry]] = {}
    with locked(settings):
        for alarm in alarms:
            cause = causes.setdefault(alarm.key, Cause.of(settings, alarm, moment))
            cause.seen(alarm, moment)
            log.error(f"alarm: {alarm.what}", customer=alarm.customer, date=str(alarm.logical_date), cause=alarm.key)
            for target in targets(settings, alarm.customer):
                if cause.due(target, moment):
                    due.setdefault((target, alarm.together or alarm.key), {})[alarm.key] = Entry(alarm, cause)
        for (target, _), entries in due.items():
            found = list(entries.values())
            put(settings, target, tell_alarms(settings, found), [one.cause.telling_id(target) for one in found], moment)
        point("alert.put")
        for (target, _), entries in due.items():
            for one in entries.values():
                one.cause.tell(target, moment)
        for alarm in alarms:
            save_cause(settings, alarm, causes[alarm.key])
    return _deliver(settings, len(due), moment)


def nights_well(
    settings: Settings,
    nights: list[tuple[str, date | None]],
    kinds: tuple[Kind, ...] = NIGHT,
    now: datetime | None = None,
) -> Told:
    """Tell once, whoever was told of an alarm, that these nights are well again."""
    moment = now or datetime.now(UTC)
    over: dict[str, list[Cause]] = {}
    with locked(settings):
        touched = _end(settings, nights, kinds, moment)
        for _, cause in touched:
            for label in cause.told if cause.well_at else ():
                over.setdefault(label, []).append(cause)
        for label, causes in over.items():
            ids = [f"{one.key}-{one.episode}-well" for one in causes]
            put(settings, Target.of(label), tell_recovery(settings, causes), ids, moment)
        for path, cause in touched:
            save(path, cause)
    return _deliver(settings, len(over), moment)


def _end(
    settings: Settings, nights: list[tuple[str, date | None]], kinds: tuple[Kind, ...], now: datetime
) -> list[tuple[Path, Cause]]:
    """Mark nights as well in their causes; one that hit several is over when the last of them is well."""
    wanted = {night(customer, settings.environment, day) for customer, day in nights}
    touched = []
    for owner in dict.fromkeys([*(customer for customer, _ in nights), names.FLEET]):
        for path, cause in open_causes(settings, owner):
            hit = wanted & cause.nights.keys()
            if cause.kind in kinds and hit:
                cause.nights |= dict.fromkeys(hit, True)
                cause.well_at = now if all(cause.nights.values()) else None
                touched.append((path, cause))
    return touched


def _deliver(settings: Settings, made: int, now: datetime) -> Told:
    sent = deliver(settings, now)
    return Told(made, sent, len(waiting(settings)))
