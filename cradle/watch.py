"""The watchdog: is the night's verified image there by the hour? It asks nothing of Airflow, which may be down itself.

Flow: every customer → last night whose `image_by` has passed → verified image of that date, or an alarm
Run:  cradle watch --once
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from cradle.alerts import Alarm, Told, broken_file, nights_well, raise_alarms
from cradle.alerts.alarm import server_of
from cradle.alerts.health import HEARTBEAT
from cradle.config import Settings
from cradle.customers import Customer, customer_names, load_customer
from cradle.errors import ConfigError
from cradle.reconcile.evidence import gather
from cradle.reconcile.findings import findings
from cradle.reconcile.known import known_since
from cradle.schedule import Night, image_deadline, nights
from cradle.services.erase import is_erased

DAYS = 8  # in which the last night is looked for: a weekly one, too
Away = dict[str, str]  # servers that did not answer at this look, and what was said


@dataclass
class Watched:
    """What one look found: the nights whose image is there, and what is wrong."""

    well: list[tuple[str, date]] = field(default_factory=list)
    wrong: list[Alarm] = field(default_factory=list)
    told: Told = field(default=Told(0, 0, 0))


def watch(settings: Settings, now: datetime, seen: set[tuple[str, date]] | None = None) -> Watched:
    """Look at all customers once, and tell what is missing; what is wrong with one keeps no other from being looked at.

    Args:
        seen: nights whose image was there at an earlier look of this process; those of this look are added.
    """
    found, known, readable = Watched(), seen if seen is not None else set(), []
    away: Away = {}
    for customer in (one for one in customer_names(settings.customers) if not is_erased(settings, one)):
        try:
            who = load_customer(settings.customers, customer)
            night = last_due(settings, who, now)
        except ConfigError as error:
            found.wrong.append(broken_file(settings, customer, str(error)))
            continue
        readable.append((customer, None))
        if night is None:
            continue
        if (customer, night.logical_date) not in known and (alarm := missing(settings, who, night, now, away)):
            found.wrong.append(alarm)
        else:
            found.well.append((customer, night.logical_date))
    nights_well(settings, list(readable), ("broken file",), now)
    nights_well(settings, [one for one in found.well if one not in known], now=now)
    known.update(found.well)
    found.told = raise_alarms(settings, found.wrong, now)
    (settings.alerts() / HEARTBEAT).write_text(now.isoformat(), encoding="utf-8")
    return found


def last_due(settings: Settings, who: Customer, now: datetime) -> Night | None:
    """Return the last night whose image must be there by now; None: no hour is set, or the customer is too young."""
    since = known_since(settings, who.customer, now)
    for night in reversed(nights(who, now, DAYS)):
        deadline = image_deadline(who, night)
        if deadline is not None and deadline <= now:
            return night if night.runs_at > since else None
    return None


def missing(settings: Settings, who: Customer, night: Night, now: datetime, away: Away) -> Alarm | None:
    """Return the alarm of a night whose image is not there, with what is known of the reason; None: it is there."""
    customer, day = who.customer, night.logical_date
    if away:  # each customer would wait for it in vain
        return _alarm(settings, who, night, "can't be told", next(iter(away.values())), next(iter(away)))
    try:
        known = gather(settings, customer, [day], lambda _: False)
        if known.image(day)[1]:
            return None
        first = next(iter(findings(customer, [night], known, now)), None)
    except Exception as error:  # noqa: BLE001  (whatever a catalog's library raises, the other customers are looked at)
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        more = f"What there is can't be read: {said} Run `cradle doctor {customer}`."
        server = server_of(settings, said)
        if server:
            away[server] = more
        return _alarm(settings, who, night, "can't be told", more, server)
    if first is None:
        more = f"It is under way. See `cradle status {customer}`."
        return _alarm(settings, who, night, "still under way", more)
    return _alarm(settings, who, night, first.kind, f"{first.text} Run `{first.run}`.")


def _alarm(settings: Settings, who: Customer, night: Night, why: str, more: str, server: str = "") -> Alarm:
    customer, day, deadline = who.customer, night.logical_date, image_deadline(who, night)
    assert deadline is not None
    return Alarm(
        kind="no image",
        customer=customer,
        environment=settings.environment,
        logical_date=day,
        what=f"{server} is away, no image by its hour" if server else f"no image by {deadline:%H:%M} ({why})",
        text=f"The verified image of {customer} for {day} had to exist at {deadline:%F %R %Z}, and does not. {more}",
        cause="image_by",
        server=server,
        together=f"no image, {why}",
    )
