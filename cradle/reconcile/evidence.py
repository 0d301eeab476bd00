"""What is known of a customer's nights: from outcome files, release rows and image events, and never from Airflow.

Flow: home and lake → evidence, read once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from cradle import outcomes
from cradle.catalog import open_lake, ops
from cradle.catalog.connect import reading_role
from cradle.config import Settings
from cradle.releases import TABLE, Release, image_events

Attempts = list[dict[str, Any]]


@dataclass
class Evidence:
    """What one customer's nights left behind, and what Airflow says of them where it was asked.

    Args:
        attempts: of every verb, per logical date.
        undated: attempts that belong to no date, such as rollbacks.
        claims: when the runs of a date took their attempt numbers.
        images: release id → event → digests.
        runs: logical date → state in Airflow; None: not asked.
        asset_dates: dates for which Airflow knows an asset event; None: not asked.
    """

    attempts: dict[date, Attempts] = field(default_factory=dict)
    undated: Attempts = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    claims: dict[date, list[datetime]] = field(default_factory=dict)
    images: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    runs: dict[date, str] | None = None
    asset_dates: set[date] | None = None

    def of(self, day: date) -> Attempts:
        """Return the attempts of a date, oldest first."""
        return self.attempts.get(day, [])

    def newest(self, day: date) -> Release | None:
        """Return the newest release of a date."""
        return next((one for one in reversed(self.releases) if one.logical_date == day), None)

    def last_sign(self, day: date) -> datetime | None:
        """Return when a date last gave a sign of life."""
        seen = [outcomes.ended_at(one) for one in self.of(day)] + self.claims.get(day, [])
        return max(seen, default=None)

    def image(self, day: date) -> tuple[str | None, bool]:
        """Return the digest of the date's newest image, and whether that very image was verified."""
        release = self.newest(day)
        events = self.images.get(release.release_id, {}) if release else {}
        baked = events.get("baked", [])
        return (baked[-1], baked[-1] in events.get("verified", [])) if baked else (None, False)


def gather(settings: Settings, customer: str, days: list[date], wanted: Callable[[date], bool]) -> Evidence:
    """Read what is known of a customer.

    Args:
        days: dates whose outcomes are read in any case.
        wanted: which dates of releases are read, too.
    """
    lake = open_lake(settings, customer, reading_role(settings, customer))
    rows = ops.rows(lake, TABLE)
    known = [Release.model_validate_json(row["row"]) for row in rows if row["kind"] == "release"]
    known.sort(key=lambda one: (one.logical_date, one.sequence))
    found = Evidence(releases=known, undated=outcomes.attempts(settings, customer, None))
    for row in rows:
        if row["kind"] == "claim":
            found.claims.setdefault(row["logical_date"], []).append(row["created_at"].astimezone(UTC))
    for event in image_events(lake):
        found.images.setdefault(event["release_id"], {}).setdefault(event["event"], []).append(event["digest"])
    for day in {*days, *(one.logical_date for one in known if wanted(one.logical_date))}:
        found.attempts[day] = outcomes.attempts(settings, customer, day)
    return found
