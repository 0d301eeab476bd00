"""The logical date of a run: the local date of the interval's begin."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cradle.cli.night import _instant
from cradle.customers import Customer, interval_of, night_date

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kolkata")


def customer(schedule: str = "0 2 * * *", timezone: str = "UTC") -> Customer:
    source: dict[str, Any] = {"name": "sales", "role": "sales", "format": "csv", "files": ["*.csv"]}
    return Customer.model_validate(
        {
            "customer": "demo",
            "installation": {"sources": [source]},
            "operation": {"schedule": schedule, "timezone": timezone},
        }
    )


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2024, 3, 31, 1, 59, tzinfo=UTC), date(2024, 3, 30)),
        (datetime(2024, 3, 31, 2, 0, tzinfo=UTC), date(2024, 3, 31)),
        (datetime(2024, 3, 31, 23, 59, tzinfo=UTC), date(2024, 3, 31)),
    ],
)
def test_a_run_without_a_date_takes_the_interval_around_now(now: datetime, expected: date) -> None:
    assert night_date(customer(), None, now) == expected


def test_a_given_moment_counts_in_the_customers_own_time() -> None:
    late = datetime(2024, 3, 30, 23, 30, tzinfo=UTC)
    assert night_date(customer(timezone="Europe/Berlin"), late, late) == date(2024, 3, 31)
    assert night_date(customer(timezone="America/New_York"), late, late) == date(2024, 3, 30)


@given(
    now=st.integers(1_577_836_800, 1_893_456_000),  # seconds: 2020 to 2030
    hour=st.integers(4, 23),  # outside the hours that daylight saving leaves out or repeats
    zone=st.sampled_from(ZONES),
)
def test_the_interval_around_now_begins_on_the_date_and_lasts_to_the_next(now: int, hour: int, zone: str) -> None:
    who, moment = customer(f"0 {hour} * * *", zone), datetime.fromtimestamp(now, UTC)
    day = night_date(who, None, moment)
    begin = datetime.combine(day, time(hour), who.operation.zone)
    end = datetime.combine(day + timedelta(days=1), time(hour), who.operation.zone)
    assert begin <= moment < end


@given(day=st.dates(date(2020, 1, 1), date(2030, 1, 1)), zone=st.sampled_from(ZONES))
def test_a_night_of_a_date_is_found_again_by_that_date(day: date, zone: str) -> None:
    who = customer("30 1 * * *", zone)
    moment = _instant(who, day)
    begin, end = interval_of(who, day)
    assert night_date(who, moment, datetime.now(UTC)) == day
    assert night_date(who, begin, datetime.now(UTC)) == day
    assert begin.astimezone(UTC) < end.astimezone(UTC)


def test_a_date_on_which_nothing_is_scheduled_is_the_day_itself() -> None:
    weekly = customer("0 2 * * 1")
    sunday = date(2024, 3, 31)
    assert interval_of(weekly, sunday) == (
        datetime(2024, 3, 31, tzinfo=weekly.operation.zone),
        datetime(2024, 4, 1, tzinfo=weekly.operation.zone),
    )
