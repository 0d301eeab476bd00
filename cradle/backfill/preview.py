"""The preview of a backfill: what each day would change, computed by the verbs themselves and then thrown away.

Flow: scratch lake → days in their order → stale dates → the newest date once more, when it is one of them → Preview
Run:  cradle backfill preview demo --from 2024-03-01 --to 2024-03-07
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from cradle.backfill.day import Known, preview_day
from cradle.backfill.estimate import minutes
from cradle.backfill.scratch import Scratch, scratch_of
from cradle.backfill.told import DayPreview, Preview, Totals
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError
from cradle.log import muted
from cradle.stale import stale_of

LONGEST = 366  # days


def preview(
    settings: Settings,
    customer: str,
    first: date,
    last: date,
    sources: list[str] | None = None,
    tell: Callable[[DayPreview], None] | None = None,
) -> Preview:
    """Compute what a backfill of these dates would change; nothing is written but to a temporary folder.

    Args:
        sources: names of the sources that the runs take; None: all. The rebuild at the end takes all.
        tell: called with each day when it is known.

    Raises:
        ConfigError: the dates are no range, or too many.
        Unavailable: a server can't be reached.
    """
    load_customer(settings.customers, customer)
    wanted = _dates(first, last)
    with muted(), scratch_of(settings, customer) as scratch:
        days, makes, after = _run(scratch, wanted, sources, tell or (lambda _: None))
    return Preview(
        customer=customer,
        environment=settings.environment,
        first=first,
        last=last,
        days=tuple(days),
        makes_stale=tuple(sorted(makes)),
        stale_after=tuple(sorted(after)),
        rebuilds=days[-1].logical_date if days[-1].rebuild else None,
        totals=_totals(settings, customer, days),
    )


def preview_of_run(settings: Settings, customer: str, day: date, sources: list[str] | None = None) -> Preview:
    """Compute what the run of one date would change."""
    return preview(settings, customer, day, day, sources)


def _run(
    scratch: Scratch, wanted: list[date], sources: list[str] | None, tell: Callable[[DayPreview], None]
) -> tuple[list[DayPreview], set[date], set[date]]:
    """Return the days, the dates that they make stale, and those that are stale when the newest one is rebuilt."""
    known, days = Known(), list[DayPreview]()
    before = {one.logical_date for one in stale_of(scratch.lake)}
    for day in wanted:
        days.append(preview_day(scratch, day, known, sources))
        tell(days[-1])
    after = stale_of(scratch.lake)
    makes = {one.logical_date for one in after} - before
    newest = next((one.logical_date for one in after if one.newest), None)
    if newest is not None:
        days.append(preview_day(scratch, newest, known, rebuild=True))
        after = stale_of(scratch.lake)
    return days, makes, {one.logical_date for one in after}


def _dates(first: date, last: date) -> list[date]:
    count = (last - first).days + 1
    if not 1 <= count <= LONGEST:
        raise ConfigError(
            f"a backfill from {first} to {last} has {max(count, 0)} days; 1 to {LONGEST} are allowed, the first date "
            f"first. Example: cradle backfill preview demo --from 2024-03-01 --to 2024-03-07"
        )
    return [first + timedelta(days=number) for number in range(count)]


def _totals(settings: Settings, customer: str, days: list[DayPreview]) -> Totals:
    texts = sum(day.texts_to_embed for day in days)
    return Totals(
        snapshots=sum(day.snapshots for day in days),
        texts_to_embed=texts,
        images=sum(day.image == "new" for day in days),
        bytes=sum(day.bytes for day in days),
        minutes=minutes(settings, customer, days),
    )
