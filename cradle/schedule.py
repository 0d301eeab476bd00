"""The nights that a customer's schedule asks for, whether anything ran or not.

Flow: operation.schedule in operation.timezone → data intervals → nights, and the hour by which an image must be there
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from cradle.customers import Customer


@dataclass(frozen=True)
class Night:
    """One data interval: the local date on which it begins, and the moment at which it ends and its run begins."""

    logical_date: date
    runs_at: datetime


def nights(customer: Customer, now: datetime, days: int) -> list[Night]:
    """Return the nights whose run should have begun in the last days, oldest first; one per logical date."""
    from croniter import croniter

    zone = customer.operation.zone
    since = now.astimezone(zone) - timedelta(days=days)  # by the wall clock, which is what schedules go by
    # An interval holds its own first moment, and ends with the next one's.
    fires = croniter(customer.operation.schedule, since + timedelta(seconds=1))
    begins: datetime = fires.get_prev(datetime)
    found = {}
    while (ends := fires.get_next(datetime)) <= now:
        if ends > begins:
            found[begins.date()] = Night(begins.date(), ends)
        begins = ends
    return list(found.values())


def image_deadline(customer: Customer, night: Night) -> datetime | None:
    """Return when the night's image must be there: the first `image_by` after its run begins; None: never asked for."""
    by, zone = customer.operation.image_by, customer.operation.zone
    if by is None:
        return None
    local = night.runs_at.astimezone(zone)
    today = datetime.combine(local.date(), by, zone)
    return today if today > local else datetime.combine(local.date() + timedelta(days=1), by, zone)
