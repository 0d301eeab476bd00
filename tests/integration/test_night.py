"""A whole night, against independent computations, and what the next nights may change."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from cradle import outcomes, releases
from cradle.bake import bake, verify
from cradle.bake.unpack import root_of, unpack
from cradle.catalog import open_lake, read, resolve, tables
from cradle.cli.current import status_of
from cradle.config import Settings
from cradle.examples import generate
from cradle.serve.store import Store
from tests.nights import DAY, contents, layers, night

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]


def snapshots(settings: Settings, customer: str) -> dict[str, list[int]]:
    lake = open_lake(settings, customer)
    return {
        table: [snapshot.snapshot_id for snapshot in lake.catalog.load_table(lake.identifier(table)).snapshots()]
        for layer in ("raw", "staging", "marts", "vectors")
        for table in tables(lake, layer)
    }


def test_daily_revenue_equals_a_computation_with_decimals(demo: Settings) -> None:
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    with (demo.inbox("demo") / "sales" / "sales.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            groups[row["order_date"], row["region"], row["product"]].append(row)
    cent = Decimal("0.01")
    expected = {
        key: (
            len({row["order_id"] for row in rows}),
            len({row["customer_id"] for row in rows}),
            sum(int(row["quantity"]) for row in rows),
            sum(int(row["quantity"]) * Decimal(row["amount"]) for row in rows),
            (sum(Decimal(row["amount"]) for row in rows) / len(rows)).quantize(cent, ROUND_HALF_UP),
        )
        for key, rows in groups.items()
    }
    lake = open_lake(demo, "demo")
    pin = resolve(lake, "marts.daily_revenue")
    assert pin is not None
    names = ("order_count", "customer_count", "total_units", "revenue", "avg_order_value")
    found = {
        (str(row["order_date"]), row["region"], row["product"]): tuple(row[name] for name in names)
        for row in read(lake, pin).to_pylist()
    }
    assert len(found) == 865
    assert found == expected


def test_status_tells_the_last_release(demo: Settings) -> None:
    status = status_of(demo, "demo")
    assert status["release"]["tables"]["marts.orders"]["rows"] == 1000
    assert status["vectors"] == {"count": 19, "dimension": 384, "model": "sentence-transformers/all-MiniLM-L6-v2"}
    assert status["image"]["verified"] is True
    assert status["rejects"] == 0
    json.dumps(status)


def test_a_second_night_changes_nothing(demo: Settings) -> None:
    before, image = snapshots(demo, "demo"), status_of(demo, "demo")["image"]["digest"]
    night(demo, "demo")
    last = outcomes.last(demo, "demo", DAY)
    assert snapshots(demo, "demo") == before
    assert last["embed"]["counts"]["embedded"] == 0
    assert last["bake"]["counts"]["bytes_to_ship"] == 0
    assert status_of(demo, "demo")["image"]["digest"] == image


def test_the_same_release_gives_the_same_image_in_another_folder(demo: Settings, tmp_path: Path) -> None:
    other = bake(demo, "demo", DAY, out=tmp_path / "layout")
    assert other.digest == status_of(demo, "demo")["image"]["digest"]
    assert not any(layer.reused for layer in other.layers)


def test_an_unchanged_night_of_a_later_date_is_a_row_with_same_as_and_no_new_image(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=30)
    night(settings, "demo")
    before, image = snapshots(settings, "demo"), status_of(settings, "demo")["image"]["digest"]
    night(settings, "demo", DAY + timedelta(days=1))
    later = releases.current(open_lake(settings, "demo"))
    assert later is not None
    assert (later.logical_date, later.same_as) == (DAY + timedelta(days=1), DAY)
    assert snapshots(settings, "demo") == before
    assert status_of(settings, "demo")["image"]["digest"] == image


def test_an_appended_order_reaches_the_next_release_and_leaves_the_old_one_alone(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"))
    night(settings, "demo")
    lake = open_lake(settings, "demo")
    old, old_layers = releases.current(lake), layers(settings, "demo")
    assert old is not None
    sales = settings.inbox("demo") / "sales" / "sales.csv"
    sales.write_text(sales.read_text() + "ORD-9999,CUST-0001,2024-03-31,Laptop,1,1500.00,North\n")
    night(settings, "demo", DAY + timedelta(days=1))

    new, new_layers = releases.current(lake), layers(settings, "demo")
    assert new is not None
    assert new.release_id != old.release_id
    changed = [name for name in new_layers if new_layers[name] != old_layers[name]]
    assert changed == ["marts.daily_revenue", "marts.orders", "notes"]
    assert outcomes.last(settings, "demo", DAY + timedelta(days=1))["embed"]["counts"]["embedded"] == 0
    assert status_of(settings, "demo")["release"]["tables"]["marts.orders"]["rows"] == 1001
    totals = {}
    for release in (old, new):
        digest = verify(settings, "demo", release_id=release.release_id).digest
        store = Store(unpack(settings, "demo", digest))
        totals[release.release_id] = store.rows("orders", 1, 0, {})[0]
        assert (store.row("marts.orders", "ORD-9999") is not None) == (release is new)
        assert root_of(settings, "demo", digest).is_dir()
    assert totals == {old.release_id: 1000, new.release_id: 1001}


def test_a_backfill_of_an_old_date_moves_no_main_and_no_other_date(settings: Settings) -> None:
    inbox = settings.inbox("demo")
    generate("demo", inbox, rows=20)
    text = (inbox / "sales" / "sales.csv").read_text().splitlines()
    (inbox / "sales" / "sales.csv").unlink()
    for number, count in ((1, 5), (2, 12)):
        folder = inbox / "sales" / f"2024-04-0{number}"
        folder.mkdir()
        (folder / "sales.csv").write_text("\n".join(text[: count + 1]) + "\n")
    for source in ("products", "documents"):
        (inbox / source).rename(inbox / f"{source}-undated")
        (inbox / source).mkdir()
        (inbox / f"{source}-undated").rename(inbox / source / "2024-04-01")
    night(settings, "demo", DAY + timedelta(days=1), upto="release")
    lake = open_lake(settings, "demo")
    before = contents(lake)
    night(settings, "demo", DAY, upto="release")
    now = contents(lake)
    assert {table: now[table] for table in before if table.startswith(("marts", "staging"))} == {
        table: digest for table, digest in before.items() if table.startswith(("marts", "staging"))
    }
    rows = {one.logical_date: one.pins["marts.orders"].rows for one in releases.releases(lake)}
    assert rows == {DAY: 5, DAY + timedelta(days=1): 12}
    current = releases.current(lake)
    assert current is not None
    assert current.logical_date == DAY + timedelta(days=1)


def test_two_lakes_with_the_same_inputs_have_equal_layers_and_one_content_digest(
    demo: Settings, settings: Settings
) -> None:
    generate("demo", settings.inbox("demo"))
    night(settings, "demo")
    assert layers(settings, "demo") == layers(demo, "demo")
    one, two = (releases.current(open_lake(found, "demo")) for found in (demo, settings))
    assert one is not None
    assert two is not None
    assert (one.content_digest, one.release_id) == (two.content_digest, two.release_id)
    assert contents(open_lake(demo, "demo")) == contents(open_lake(settings, "demo"))


def test_a_catalogue_of_another_customer_is_equal_over_every_backend(settings: Settings, tmp_path: Path) -> None:
    embedded = Settings(home=tmp_path / "embedded", customers=settings.customers)
    for found in (embedded, settings):
        generate("lightnet", found.inbox("lightnet"), rows=60)
        night(found, "lightnet", upto="bake")
    one, two = (releases.find(open_lake(found, "lightnet")) for found in (embedded, settings))
    assert (one.content_digest, one.release_id) == (two.content_digest, two.release_id)
    assert contents(open_lake(embedded, "lightnet")) == contents(open_lake(settings, "lightnet"))
    assert layers(embedded, "lightnet") == layers(settings, "lightnet")
