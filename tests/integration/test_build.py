"""Models against independent computations: casts by locale, rejects, keys, and what a failing test stops."""

from __future__ import annotations

import csv
import random
import re
import shutil
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cradle.catalog import open_lake, read, resolve
from cradle.catalog.ops import rows as ops_rows
from cradle.config import Settings
from cradle.errors import BuildFailed, MissingStep
from dbt_project.plugins.build import build
from dlt_pipelines.ingest import ingest
from dlt_pipelines.reading.look import look, to_yaml
from tests.nights import DAY, night

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
PRODUCTS = """
customer: shop
installation:
  sources:
    - name: list
      role: products
      format: csv
      files: ["*.csv"]
      delivery: {delivery}
      dialect: {{delimiter: ";", decimal: ",", thousands: ".", date_format: "%d.%m.%Y", null_values: ["", "n/a"]}}
      key: {key}
      columns:
        - {{name: sku, required: {required}}}
        - {{name: name}}
        - {{name: whole, type: integer}}
        - {{name: exact, type: decimal}}
        - {{name: day, type: date}}
        - {{name: flag, type: boolean}}
"""
Write = Callable[[str, str], Path]


def table(settings: Settings, name: str, customer: str = "shop") -> list[dict[str, Any]]:
    lake = open_lake(settings, customer)
    pin = resolve(lake, name, f"asof-{DAY}")
    assert pin is not None
    return read(lake, pin).to_pylist()


def rejects(settings: Settings, customer: str = "shop") -> list[dict[str, Any]]:
    return [row for row in ops_rows(open_lake(settings, customer), "ops.rejects") if row["stage"] == "staging"]


def whole(text: str) -> int | None:
    if not re.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,0+)?", text):
        return None
    return int(text.replace(".", "").split(",")[0])


def exact(text: str) -> Decimal | None:
    if not re.fullmatch(r"[+-]?((\d{1,3}(\.\d{3})+|\d+)(,\d{0,4}0*)?|,\d{1,4}0*)", text):
        return None
    value = Decimal(text.replace(".", "").replace(",", "."))
    return value if abs(value) < Decimal(10) ** 14 else None


def day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%d.%m.%Y").date()  # noqa: DTZ007
    except ValueError:
        return None


def flag(text: str) -> bool | None:
    return {
        "true": True,
        "yes": True,
        "ja": True,
        "1": True,
        "false": False,
        "no": False,
        "nein": False,
        "0": False,
    }.get(text.lower())


def samples(draw: random.Random) -> list[list[str]]:
    """Return texts as catalogues have them: good, borderline and wrong, in all columns."""
    numbers = [
        "1.234",
        "1.234,5",
        "12,3450",
        "1,23456",
        "1E5",
        "007",
        "-3",
        "+4",
        "1.23.4",
        "1,2,3",
        "",
        "n/a",
        "NA",
        "42 W",
    ]
    numbers += [f"{draw.randint(0, 10 ** draw.randint(1, 16))}" for _ in range(20)] + [
        ",5",
        "5,",
        "0,0",
        "1234.567",
        " 8 ",
    ]
    days = ["01.02.2024", "29.02.2023", "2024-02-01", "1.2.2024", "31.12.1999", "", "morgen"]
    flags = ["ja", "Nein", "TRUE", "0", "vielleicht", ""]
    pick = draw.choice
    return [[f"S{at:04d}", f"Name {at}", pick(numbers), pick(numbers), pick(days), pick(flags)] for at in range(400)]


def test_every_cast_equals_pythons_and_every_failure_is_a_reject(settings: Settings, write_customer: Write) -> None:
    write_customer("shop", PRODUCTS.format(delivery="full", key="[sku]", required="true"))
    given = samples(random.Random(7))
    settings.inbox("shop").mkdir(parents=True)
    with (settings.inbox("shop") / "list.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=";").writerows([["sku", "name", "whole", "exact", "day", "flag"], *given])
    ingest(settings, "shop", DAY)
    build(settings, "shop", DAY)
    found = {row["sku"]: row for row in table(settings, "staging.stg_products")}
    casts = {"whole": whole, "exact": exact, "day": day, "flag": flag}
    expected_rejects = set()
    for sku, _, *cells in given:
        for (column, cast), text in zip(casts.items(), cells, strict=True):
            value = None if text.strip() in ("", "n/a") else cast(text.strip())  # type: ignore[operator]
            assert found[sku][column] == value, (column, text)
            if value is None and text.strip() not in ("", "n/a"):
                expected_rejects.add((found[sku]["_row_number"], column, text.strip()))
    assert {(row["row_number"], row["column"], row["value"]) for row in rejects(settings)} == expected_rejects
    assert {row["scope"] for row in rejects(settings)} == {"cell"}
    assert len(expected_rejects) > 50
    assert all(row["source_file"] == "list.csv" and "row" in row["message"] for row in rejects(settings))


def test_rows_without_a_key_and_repeated_keys_are_rejected_and_counted(
    settings: Settings, write_customer: Write
) -> None:
    write_customer("shop", PRODUCTS.format(delivery="incremental", key="[sku]", required="true"))
    inbox = settings.inbox("shop")
    for folder, lines in {
        "2024-03-01": ["A;first;1;1;;", "A;again;2;2;;", ";nameless;3;3;;", "B;old;4;4;;"],
        "2024-03-02": ["B;new;5;5;;"],
    }.items():
        (inbox / folder).mkdir(parents=True)
        (inbox / folder / "list.csv").write_text("\n".join(["sku;name;whole;exact;day;flag", *lines]) + "\n")
    ingest(settings, "shop", DAY)
    build(settings, "shop", DAY)
    assert {row["sku"]: row["name"] for row in table(settings, "staging.stg_products")} == {"A": "first", "B": "new"}
    reasons = sorted((row["reason"], row["row_number"]) for row in rejects(settings))
    assert reasons == [("duplicate_key", 3), ("missing_required", 4), ("superseded", 5)]


def test_a_failing_test_publishes_nothing_and_names_test_rows_and_sql(
    settings: Settings, write_customer: Write
) -> None:
    write_customer("shop", PRODUCTS.format(delivery="full", key="[]", required="false"))
    inbox = settings.inbox("shop")
    inbox.mkdir(parents=True)
    (inbox / "list.csv").write_text("sku;name;whole;exact;day;flag\nA;x;1;1;;\n")
    ingest(settings, "shop", DAY)
    build(settings, "shop", DAY)
    lake = open_lake(settings, "shop")
    before = resolve(lake, "marts.syndication_products")
    (inbox / "list.csv").write_text("sku;name;whole;exact;day;flag\nA;x;1;1;;\nA;y;2;2;;\n")
    ingest(settings, "shop", DAY)
    with pytest.raises(BuildFailed) as failed:
        build(settings, "shop", DAY)
    assert "unique_stg_products_sku: fail" in str(failed.value)
    assert "SQL: " in str(failed.value)
    assert "row: {'unique_field': 'A', 'n_records': 2}" in str(failed.value)
    after = resolve(lake, "marts.syndication_products")
    assert before is not None
    assert after is not None
    assert after.snapshot_id == before.snapshot_id


def test_building_before_ingesting_names_the_command(settings: Settings) -> None:
    with pytest.raises(MissingStep, match="cradle ingest demo --date 2024-04-01"):
        build(settings, "demo", DAY)


def test_a_customer_without_models_ends_in_a_verified_image_all_the_same(
    settings: Settings, write_customer: Write
) -> None:
    source = "{name: cars, role: cars, format: csv, files: ['*.csv'], columns: [{name: model}]}"
    write_customer("shop", f"customer: shop\ninstallation:\n  sources:\n    - {source}\n")
    settings.inbox("shop").mkdir(parents=True)
    (settings.inbox("shop") / "cars.csv").write_text("model,price\nA1,100\n")
    night(settings, "shop")
    lake = open_lake(settings, "shop")
    pin = resolve(lake, "raw.cars")
    assert pin is not None
    assert [row["_unmapped"] for row in read(lake, pin).to_pylist()] == ['{"price":"100"}']


def test_a_real_sales_file_gives_its_revenue_to_the_cent_and_to_the_row(settings: Settings, corpus: Path) -> None:
    inbox = settings.inbox("bikes")
    inbox.mkdir(parents=True)
    original = corpus / "8-sales" / "MicrosoftLearning__dp-data" / "sales.csv"
    shutil.copyfile(original, inbox / "sales.csv")
    (settings.customers / "bikes.yaml").write_text(to_yaml(look(inbox, "bikes")), encoding="utf-8")
    night(settings, "bikes", upto="build")
    orders = table(settings, "marts.orders", "bikes")
    assert sum(row["line_total"] for row in orders) == Decimal("20928022.4307")
    assert len(orders) == 32718
    assert len({row["order_id"] for row in orders}) == 16459
    assert len({row["product"] for row in orders}) == 130
    assert (min(row["order_date"] for row in orders), max(row["order_date"] for row in orders)) == (
        date(2019, 7, 1),
        date(2021, 12, 31),
    )
    with original.open(newline="", encoding="utf-8") as stream:
        given = list(csv.DictReader(stream))
    groups: dict[tuple[str, str], Decimal] = {}
    for row in given:
        key = (row["OrderDate"], row["Item"])
        groups[key] = groups.get(key, Decimal(0)) + int(row["Quantity"]) * Decimal(row["UnitPrice"])
    daily = table(settings, "marts.daily_revenue", "bikes")
    assert {(str(row["order_date"]), row["product"]): row["revenue"] for row in daily} == groups
