"""Stale dates and epochs of old dates: told without a rebuild, and gone after one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from cradle import releases
from cradle.catalog import open_lake
from cradle.catalog.epochs import accept
from cradle.catalog.run import open_run
from cradle.cli.current import status_of
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError, EpochRefused
from cradle.stale import newest_date_is_stale, stale_dates
from tests.nights import night

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
DAYS = [date(2024, 3, number) for number in (1, 2, 3)]
COLUMNS = """[{name: order_id}, {name: order_date, type: date}, {name: product},
       {name: quantity, type: integer}, {name: amount, type: decimal}]"""
SHOP = f"""
customer: shop
installation:
  chunking: {{max_chars: %d}}
  sources:
    - {{name: parts, role: sales, format: csv, files: ["parts/*.csv"], delivery: incremental, columns: {COLUMNS}}}
    - {{name: whole, role: sales, format: csv, files: ["whole/*.csv"], columns: {COLUMNS}}}
"""
Write = Callable[[str, str], Path]


def put(settings: Settings, source: str, day: date, *orders: str) -> None:
    target = settings.inbox("shop") / source / str(day) / "list.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{order},{day},bolt,1,2.5" for order in orders]
    target.write_text("\n".join(["order_id,order_date,product,quantity,amount", *rows]) + "\n")


def stale(settings: Settings) -> list[date]:
    return [one.logical_date for one in stale_dates(settings, "shop")]


def released(settings: Settings, day: date) -> releases.Release:
    return releases.find(open_lake(settings, "shop"), logical_date=day)


def shop(settings: Settings, write_customer: Write) -> Settings:
    """Release three days; each brings a part, the first and the last one the whole as well."""
    write_customer("shop", SHOP % 800)
    for day in DAYS:
        put(settings, "parts", day, f"A{day.day}")
    put(settings, "whole", DAYS[0], "W1")
    put(settings, "whole", DAYS[2], "W3")
    for day in DAYS:
        night(settings, "shop", day, upto="release")
    assert stale(settings) == []
    assert newest_date_is_stale(settings, "shop") is None
    return settings


def test_corrections_make_the_dates_stale_that_they_are_in_force_for_until_these_are_made_again(
    settings: Settings, write_customer: Write
) -> None:
    shop(settings, write_customer)
    before = releases.releases(open_lake(settings, "shop"))
    put(settings, "whole", DAYS[0], "W1", "W2")
    night(settings, "shop", DAYS[0], upto="ingest")
    assert stale(settings) == DAYS[:2]  # a newer delivery of the whole is in force later
    assert newest_date_is_stale(settings, "shop") is None
    put(settings, "parts", DAYS[1], "A2", "B2")
    night(settings, "shop", DAYS[1], upto="ingest")
    told = stale_dates(settings, "shop")
    assert [(one.logical_date, one.newest) for one in told] == [(DAYS[0], False), (DAYS[1], False), (DAYS[2], True)]
    assert {reason for one in told for reason in one.reasons} == {"raw.sales has been corrected"}
    assert newest_date_is_stale(settings, "shop") == DAYS[2]
    assert [one["logical_date"] for one in status_of(settings, "shop")["stale"]] == [str(day) for day in DAYS]
    for at, day in enumerate(DAYS):
        night(settings, "shop", day, upto="release")
        assert stale(settings) == DAYS[at + 1 :]
    put(settings, "parts", DAYS[1], "A2")
    night(settings, "shop", DAYS[2], upto="ingest")
    assert stale(settings) == DAYS[1:]
    put(settings, "parts", DAYS[1], "A2", "B2")
    night(settings, "shop", DAYS[2], upto="ingest")
    assert stale(settings) == []  # what they were made from is in force again
    assert releases.releases(open_lake(settings, "shop"))[0] == before[0]
    assert all(one in releases.releases(open_lake(settings, "shop")) for one in before)  # a release never changes


def test_an_epoch_makes_its_dates_stale_and_a_changed_file_counts_for_tonight_only(
    settings: Settings, write_customer: Write
) -> None:
    shop(settings, write_customer)
    first = released(settings, DAYS[0])
    write_customer("shop", SHOP % 500)
    night(settings, "shop", DAYS[0], upto="release")
    assert released(settings, DAYS[0]) == first
    for tonight in (DAYS[2], date(2024, 3, 4)):
        with pytest.raises(EpochRefused, match="max_chars"):
            open_run(settings, "shop", tonight)
        assert open_run(settings.model_copy(update={"epoch": 1}), "shop", tonight).epoch == 1
    with pytest.raises(ConfigError, match=r"no epoch 7. Accepted: 1 \(from 0001-01-01\)"):
        open_run(settings.model_copy(update={"epoch": 7}), "shop", DAYS[0])

    accept(open_lake(settings, "shop"), load_customer(settings.customers, "shop"), DAYS[1])
    told = stale_dates(settings, "shop")
    assert [one.logical_date for one in told] == DAYS[1:]
    assert told[0].reasons == ("epoch 2 holds, it was made with epoch 1",)
    for day in DAYS[1:]:
        night(settings, "shop", day, upto="release")
    assert stale(settings) == []
    night(settings.model_copy(update={"epoch": 1}), "shop", DAYS[1], upto="release")
    assert released(settings, DAYS[1]).epoch == 1
    assert stale(settings) == []  # an engineer said so
