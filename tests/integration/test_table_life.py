"""The life of a table: evolution without rewrite, time travel, rollback, drift, repair, promotion."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow as pa
import pytest

from cradle import releases
from cradle.catalog import open_lake, read, resolve, write_once
from cradle.catalog.pins import load
from cradle.catalog.schema import Change, drift, evolve
from cradle.cli.promote import promote
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError, MissingStep
from cradle.examples import generate
from cradle.history import open_history, repair, roll_back
from tests.nights import DAY, contents, night

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
NOTHING = Change({}, (), {}, {})


def files(settings: Settings, table: str) -> set[str]:
    loaded = load(open_lake(settings, "demo"), table)
    assert loaded is not None
    return {task.file.file_path for task in loaded.scan().plan_files()}


def test_columns_come_and_go_without_a_file_being_written(settings: Settings) -> None:
    lake = open_lake(settings, "demo")
    rows = pa.table({"k": pa.array([1, 2], pa.int32()), "name": ["a", "b"], "old": [1.0, 2.0]})
    write_once(lake, "marts.t", rows, step_key="a")
    before = files(settings, "marts.t")
    evolve(lake, "marts.t", Change({"note": "string"}, ("old",), {"name": "label"}, {"k": "long"}))
    assert files(settings, "marts.t") == before
    loaded = load(lake, "marts.t")
    assert loaded is not None
    assert loaded.scan().to_arrow().to_pylist() == [
        {"k": 1, "label": "a", "note": None},
        {"k": 2, "label": "b", "note": None},
    ]
    assert str(loaded.schema().find_field("k").field_type) == "long"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (Change({}, ("nothing",), {}, {}), "nothing"),
        (Change({"x": "blob"}, (), {}, {}), "Allowed: string"),
        (Change({}, (), {}, {"k": "int"}), "k"),
    ],
)
def test_a_change_that_can_not_be_made_says_what_there_is(settings: Settings, change: Change, word: str) -> None:
    lake = open_lake(settings, "demo")
    write_once(lake, "marts.t", pa.table({"k": pa.array([1], pa.int64())}), step_key="a")
    with pytest.raises(ConfigError, match=word):
        evolve(lake, "marts.t", change)
    assert read(lake, resolve(lake, "marts.t")).to_pylist() == [{"k": 1}]  # type: ignore[arg-type]


@pytest.fixture
def two_days(settings: Settings) -> Settings:
    """Two releases: 200 orders, and 201 a day later."""
    generate("demo", settings.inbox("demo"), rows=200)
    night(settings, "demo", upto="release")
    sales = settings.inbox("demo") / "sales" / "sales.csv"
    first = sales.read_text().splitlines()[1].split(",")
    sales.write_text(sales.read_text() + ",".join(["ORD-9999", *first[1:]]) + "\n")
    night(settings, "demo", DAY + timedelta(days=1), upto="release")
    return settings


def count(settings: Settings, day: int | None) -> int:
    con, _ = open_history(settings, "demo", None if day is None else DAY + timedelta(days=day))
    return int(con.execute("select count(*) from marts.orders").fetchall()[0][0])


def test_a_release_can_be_asked_and_gone_back_to(two_days: Settings) -> None:
    lake = open_lake(two_days, "demo")
    old, new = releases.releases(lake)
    assert (count(two_days, 0), count(two_days, 1), count(two_days, None)) == (200, 201, 201)
    with pytest.raises(MissingStep, match="on or before"):
        count(two_days, -1)
    made = roll_back(two_days, "demo", old.short_id)
    assert (made.logical_date, made.sequence, made.release_id) == (new.logical_date, 3, old.release_id)
    assert releases.current(lake) == made
    assert count(two_days, None) == 200
    for table, pin in old.pins.items():
        head = resolve(lake, table)
        assert head is not None
        assert head.snapshot_id == pin.snapshot_id
    assert roll_back(two_days, "demo", old.short_id) == made  # again: nothing to do
    assert count(two_days, None) == 200
    night(two_days, "demo", DAY + timedelta(days=1), upto="release")  # the next night brings the newest data back
    assert count(two_days, None) == 201


def test_drift_is_told_and_nothing_is_changed(two_days: Settings) -> None:
    lake, installation = open_lake(two_days, "demo"), load_customer(two_days.customers, "demo").installation
    assert [one for one in drift(lake, installation) if one.table != "ops.images"] == []
    evolve(lake, "marts.orders", Change({"stray": "string"}, (), {}, {}))
    write_once(lake, "marts.nobodys", pa.table({"k": [1]}), step_key="x")
    loaded = load(lake, "raw.sales")
    assert loaded is not None
    with loaded.transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})
    told = {(one.table, one.what) for one in drift(lake, installation)} - {("ops.images", "missing")}
    assert told == {
        ("marts.orders", "column not declared"),
        ("marts.nobodys", "unknown"),
        ("raw.sales", "property"),
    }
    assert resolve(lake, "marts.nobodys") is not None


def test_a_table_that_is_gone_is_registered_from_the_release_row(two_days: Settings) -> None:
    lake = open_lake(two_days, "demo", "admin")
    before = contents(lake)
    lake.catalog.drop_table(lake.identifier("marts.orders"))
    assert resolve(lake, "marts.orders") is None
    told = repair(two_days, "demo")
    assert told.pop("marts.orders") == "repaired"
    assert set(told.values()) == {"sound"}
    night(two_days, "demo", DAY + timedelta(days=1), upto="release")
    assert contents(lake) == before
    assert count(two_days, 0) == 200


def test_a_promotion_gives_the_same_content_in_the_other_environment(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=200)
    night(settings, "demo")
    here = releases.find(open_lake(settings, "demo"))
    (settings.inbox("demo") / "sales" / "sales.csv").write_text("not what was promoted")
    there = settings.model_copy(update={"environment": "staging_analytics"})
    made = promote(settings, "demo", "staging_analytics")
    assert (made.content_digest, made.environment) == (here.content_digest, "staging_analytics")
    assert contents(open_lake(there, "demo")) == contents(open_lake(settings, "demo"))
    again = promote(settings, "demo", "staging_analytics")
    assert again.sequence == made.sequence
    with pytest.raises(ConfigError, match="allowed from dev_analytics"):
        promote(settings, "demo", "dev_analytics")
    told = (there.outcomes("demo") / str(DAY)).glob("promote-*.json")
    assert all(json.loads(path.read_text())["outputs"]["equal"] for path in told)
