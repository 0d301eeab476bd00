"""The truth about the nights, independent of Airflow, whose runs and asset events may be lost or doubled.

Flow: schedule → nights that should have been; outcomes, releases, images → nights that were; the difference → findings
Run:  cradle reconcile demo
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cradle.alerts import Alarm, Told, broken_file, nights_well, raise_alarms
from cradle.alerts.alarm import NIGHT, night, normalised
from cradle.alerts.causes import open_causes
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError, UnknownCustomer
from cradle.reconcile.evidence import gather
from cradle.reconcile.findings import Finding, findings
from cradle.reconcile.known import known_since
from cradle.schedule import nights
from cradle.services.erase import is_erased

__all__ = ["Finding", "Reconciliation", "reconcile", "tell"]


class Reconciliation(BaseModel):
    """What was compared, and what is not as it should be."""

    model_config = ConfigDict(frozen=True)

    customer: str
    environment: str
    dates: tuple[date, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing is missing."""
        return not self.findings


def reconcile(
    settings: Settings,
    customer: str,
    now: datetime,
    *,
    days: int = 7,
    runs: dict[date, str] | None = None,
    asset_dates: Iterable[date] | None = None,
) -> Reconciliation:
    """Compare the nights of the last days with what they left behind.

    Args:
        runs: logical date → state of the newest run in Airflow; None: Airflow is not asked.
        asset_dates: dates for which Airflow knows an asset event of this customer; None: not asked.

    Raises:
        UnknownCustomer: there is no file of this name; whatever else is wrong is a finding.
    """
    who, dates = None, []
    if is_erased(settings, customer):  # to look would make an empty lake anew
        return Reconciliation(customer=customer, environment=settings.environment, dates=(), findings=())
    try:
        who = load_customer(settings.customers, customer)
        since = known_since(settings, customer, now)
        expected = [one for one in nights(who, now, days) if one.runs_at > since]
        dates = [one.logical_date for one in expected]
        oldest = (now - timedelta(days=days)).date()
        known = gather(settings, customer, dates, lambda day: day >= oldest)
        known.runs, known.asset_dates = runs, set(asset_dates) if asset_dates is not None else None
        found = findings(customer, expected, known, now)
    except UnknownCustomer:
        raise
    except ConfigError as error:
        found = [_unreadable("broken file" if who is None else "not readable", customer, str(error))]
    except Exception as error:  # noqa: BLE001  (whatever a catalog's library raises, the other customers go on)
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        found = [_unreadable("not readable", customer, f"What {customer} has can't be read: {said}")]
    return Reconciliation(
        customer=customer, environment=settings.environment, dates=tuple(dates), findings=tuple(found)
    )


def _unreadable(kind: Literal["broken file", "not readable"], customer: str, text: str) -> Finding:
    return Finding(kind=kind, customer=customer, logical_date=None, text=text, run=f"cradle doctor {customer}")


def tell(settings: Settings, made: Reconciliation, now: datetime | None = None) -> Told:
    """Raise an alarm for what was found, one message in all; a night of which somebody was told is not told again."""
    wrong = {one.logical_date for one in made.findings}
    well = [(made.customer, day) for day in (*made.dates, None) if day not in wrong]
    nights_well(settings, well, ("finding", "broken file"), now)
    told = {
        one
        for _, cause in open_causes(settings, made.customer)
        if cause.kind in NIGHT and cause.told
        for one in cause.nights
    }
    alarms = [
        _alarm(settings, one)
        for one in made.findings
        if night(made.customer, made.environment, one.logical_date) not in told
    ]
    return raise_alarms(settings, alarms, now)


def _alarm(settings: Settings, found: Finding) -> Alarm:
    if found.kind == "broken file":
        return broken_file(settings, found.customer, found.text)
    return Alarm(
        kind="finding",
        customer=found.customer,
        environment=settings.environment,
        logical_date=found.logical_date,
        what=found.kind,
        text=f"{found.text} Run `{found.run}`.",
        cause=f"{found.kind} {normalised(found.text)}",
        together=f"reconcile {found.customer}",
    )
