"""Bad deliveries: a clear reject with file, place, value and remedy; nothing is lost or half written."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from cradle import releases
from cradle.catalog import open_lake, read, resolve
from cradle.catalog.deliveries import recorded
from cradle.config import Settings
from cradle.errors import ConfigError, FileChanging, InputError, UnknownCustomer
from dbt_project.plugins.build import build
from dlt_pipelines.inbox import keep
from dlt_pipelines.ingest import ingest
from tests.nights import DAY, night

pytestmark = pytest.mark.integration

HEADER = "order_id,customer_id,order_date,product,quantity,amount,region\n"
GOOD = "ORD-1,C1,2024-03-01,Lamp,2,1.50,North\n"
YAML = """
customer: {name}
installation:
  sources:
    - name: sales
      role: sales
      format: {format}
      files: ["sales/*"]
      key: [order_id]
      columns:
        - {{name: order_id, required: true}}
        - {{name: customer_id, required: true}}
        - {{name: order_date, type: date, required: true}}
        - {{name: product, required: true}}
        - {{name: quantity, type: integer, required: true}}
        - {{name: amount, type: decimal, required: true}}
        - {{name: region}}
"""
Write = Callable[[str, str], Path]


@pytest.fixture
def shop(write_customer: Write) -> str:
    write_customer("shop", YAML.format(name="shop", format="csv"))
    return "shop"


def deliver(settings: Settings, data: bytes | str, name: str = "sales/a.csv", customer: str = "shop") -> Path:
    path = settings.inbox(customer) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def rows(settings: Settings, table: str, customer: str = "shop", ref: str = "main") -> list[dict[str, Any]]:
    lake = open_lake(settings, customer)
    pin = resolve(lake, table, ref)
    return read(lake, pin).to_pylist() if pin else []


@pytest.mark.parametrize(
    ("line", "reason", "shown"),
    [
        (b"ORD-2,C2,2024-03-01,Lamp\n", "ragged_row", "ORD-2,C2,2024-03-01,Lamp"),
        (b'ORD-2,C2,2024-03-01,"Lamp,1,2,North\n', "broken_quote", 'ORD-2,C2,2024-03-01,"Lamp,1,2,North'),
        (b"ORD-2,C2,2024-03-01,L\xe4mp,1,2,North\n", "bad_encoding", "ORD-2,C2,2024-03-01,L\\xe4mp,1,2,North"),
        (b"ORD-2,C2,2024-03-01,La\0mp,1,2,North\n", "nul_byte", "ORD-2,C2,2024-03-01,La\\0mp,1,2,North"),
    ],
)
def test_a_bad_line_is_a_reject_and_the_others_are_loaded(
    settings: Settings, shop: str, line: bytes, reason: str, shown: str
) -> None:
    deliver(settings, (HEADER + GOOD).encode() + line + b"ORD-3,C3,2024-03-02,L\xc3\xa4mp,1,2,South\n")
    done = ingest(settings, shop, DAY).sources[0]
    assert (done.rows_read, done.rows_accepted, done.rows_rejected) == (3, 2, 1)
    assert [row["order_id"] for row in rows(settings, "raw.sales")] == ["ORD-1", "ORD-3"]
    (reject,) = rows(settings, "ops.rejects")
    assert (reject["stage"], reject["step"], reject["scope"]) == ("ingest", "sales", "row")
    assert (reject["source_file"], reject["row_number"]) == ("sales/a.csv", 3)
    assert (reject["reason"], reject["value"]) == (reason, shown)
    assert "sales/a.csv, row 3: " in reject["message"]
    ingest(settings, shop, DAY)
    assert len(rows(settings, "ops.rejects")) == 1


REFUSED = [
    (HEADER.replace("amount", "ammount") + GOOD, "missing_column", ["'amount'", "renamed to 'ammount'"]),
    (HEADER.replace(",amount", "") + "ORD-1,C1,2024-03-01,Lamp,2,North\n", "missing_column", ["'amount'"]),
    (HEADER.replace("region", "amount") + GOOD, "duplicate_column", ["'amount' stands 2 times"]),
    ("", "empty_file", ["no header and no record"]),
    ((HEADER + GOOD).encode("utf-16")[:-1], "bad_encoding", ["utf-16"]),
]


@pytest.mark.parametrize(("data", "reason", "said"), REFUSED)
def test_a_bad_file_stops_the_customer_and_is_taken_when_mended(
    settings: Settings, shop: str, data: bytes | str, reason: str, said: list[str]
) -> None:
    deliver(settings, HEADER + GOOD.replace("ORD-1", "ORD-9"), "sales/good.csv")
    bad = deliver(settings, data)
    with pytest.raises(InputError) as caught:
        ingest(settings, shop, DAY)
    for part in ["sales/a.csv", reason, "delivered anew", *said]:
        assert part in str(caught.value)
    assert recorded(open_lake(settings, shop)) == []  # nothing of the delivery is in force
    (reject,) = rows(settings, "ops.rejects")
    assert (reject["scope"], reject["reason"], reject["source_file"]) == ("file", reason, "sales/a.csv")
    bad.write_text(HEADER + GOOD)
    done = ingest(settings, shop, DAY).sources[0]
    assert (done.deliveries, done.originals) == (1, 2)
    assert sorted(row["order_id"] for row in rows(settings, "raw.sales")) == ["ORD-1", "ORD-9"]
    (delivery,) = recorded(open_lake(settings, shop))
    assert [file.path for file in delivery.files] == ["sales/a.csv", "sales/good.csv"]


def test_a_header_without_rows_is_a_delivery_that_empties_the_table(settings: Settings, shop: str) -> None:
    deliver(settings, HEADER)
    done = ingest(settings, shop, DAY).sources[0]
    assert (done.deliveries, done.rows_read, done.rows_rejected) == (1, 0, 0)
    assert rows(settings, "ops.rejects") == []
    assert len(recorded(open_lake(settings, shop))) == 1


def test_duplicate_keys_and_bad_values_are_rejected_by_the_build_with_their_line(settings: Settings, shop: str) -> None:
    lines = [
        GOOD,
        "ORD-2,C2,31.02.2024,Lamp,1,2.00,North\n",
        "ORD-3,C3,2024-03-01,Lamp,two,2.00,North\n",
        GOOD.replace("1.50", "9.99"),
        "ORD-4,,2024-03-01,Lamp,1,2.00,North\n",
        "ORD-5,C5,2024-03-01,Lamp,1,2.00,\n",
    ]
    deliver(settings, HEADER + "".join(lines))
    assert ingest(settings, shop, DAY).sources[0].rows_accepted == 6
    build(settings, shop, DAY)
    kept = {row["order_id"]: str(row["amount"]) for row in rows(settings, "staging.stg_sales")}
    assert kept == {"ORD-1": "1.5000", "ORD-5": "2.0000"}
    found = {row["row_number"]: row for row in rows(settings, "ops.rejects") if row["stage"] == "staging"}
    assert {at: (row["column"], row["value"], row["reason"]) for at, row in found.items()} == {
        3: ("order_date", "31.02.2024", "not_a_date"),
        4: ("quantity", "two", "not_an_integer"),
        5: ("order_id", "ORD-1", "duplicate_key"),
        6: ("customer_id", None, "missing_required"),
    }
    assert all(row["source_file"] == "sales/a.csv" and row["message"] for row in found.values())


def test_merged_cells_formulas_and_error_cells_of_a_workbook(settings: Settings, write_customer: Write) -> None:
    write_customer("books", YAML.format(name="books", format="xlsx"))
    book = openpyxl.Workbook()
    book.active.title = "March"
    book.active.append(HEADER.strip().split(","))
    book.active.append(["ORD-1", "C1", date(2024, 3, 1), "Lamp", 2, 1.5, "North"])
    book.active.append(["ORD-2", "C2", date(2024, 3, 1), "Lamp", "=1+1", 1.5, None])
    book.active.append(["ORD-3", "C3", date(2024, 3, 1), "Lamp", 1, "#DIV/0!", "South"])
    book.active["F4"].data_type = "e"
    book.active.merge_cells("G2:G3")
    path = deliver(settings, b"", "sales/a.xlsx", "books")
    book.save(path)
    assert ingest(settings, "books", DAY).sources[0].rows_accepted == 3
    loaded = {row["order_id"]: row for row in rows(settings, "raw.sales", "books")}
    assert (loaded["ORD-1"]["order_date"], loaded["ORD-1"]["_sheet"]) == ("2024-03-01", "March")
    assert (loaded["ORD-2"]["quantity"], loaded["ORD-2"]["region"], loaded["ORD-3"]["amount"]) == (None, None, None)
    (reject,) = rows(settings, "ops.rejects", "books")
    assert (reject["scope"], reject["reason"], reject["sheet"]) == ("cell", "error_cell", "March")
    assert (reject["row_number"], reject["column"], reject["value"]) == (4, "F", "#DIV/0!")
    assert "Mend the formula" in reject["message"]


def test_a_file_that_changes_while_it_is_read_is_not_taken(settings: Settings, shop: str) -> None:
    path = deliver(settings, HEADER + GOOD * 200_000)
    stop = threading.Event()

    def touch() -> None:
        at = 0
        while not stop.is_set():
            at += 1
            os.utime(path, ns=(at, at))

    writer = threading.Thread(target=touch)
    writer.start()
    try:
        with pytest.raises(FileChanging, match="changed 3 times while it was read") as caught:
            keep(settings, shop, "sales/a.csv")
    finally:
        stop.set()
        writer.join()
    assert "rename when complete" in str(caught.value)
    folder = settings.files(shop) / "originals"
    assert [one for one in folder.rglob("*") if one.is_file()] == []
    assert keep(settings, shop, "sales/a.csv").bytes == path.stat().st_size


@pytest.mark.parametrize("name", ["sales/a.csv.part", "sales/.a.csv", "sales/a.csv~"])
def test_a_file_that_is_still_being_written_is_left_alone(settings: Settings, shop: str, name: str) -> None:
    deliver(settings, HEADER + GOOD)
    deliver(settings, "half", name)
    assert ingest(settings, shop, DAY).sources[0].originals == 1


def test_a_file_name_that_is_not_utf8_is_named(settings: Settings, shop: str) -> None:
    path = deliver(settings, HEADER + GOOD)
    path.rename(path.with_name("caf\udce9.csv"))
    with pytest.raises(InputError, match=r"caf.*udce9\.csv' in the inbox: the file's name is not UTF-8\. Rename it"):
        ingest(settings, shop, DAY)


def test_one_customers_bad_file_stops_no_other_customer(settings: Settings, write_customer: Write, shop: str) -> None:
    write_customer("other", YAML.format(name="other", format="csv"))
    deliver(settings, "no,header\n1,2\n")
    deliver(settings, HEADER + GOOD, customer="other")
    with pytest.raises(InputError):
        night(settings, "shop", upto="release")
    night(settings, "other", upto="release")
    assert releases.current(open_lake(settings, "shop")) is None
    made = releases.current(open_lake(settings, "other"))
    assert made is not None
    assert made.pins["marts.orders"].rows == 1


def test_an_unknown_customer_and_a_typo_in_the_yaml(settings: Settings, write_customer: Write) -> None:
    with pytest.raises(UnknownCustomer, match=r"'shopp' is unknown. Known: .*demo"):
        ingest(settings, "shopp", DAY)
    write_customer("typo", YAML.format(name="typo", format="csv").replace("format:", "formt:"))
    with pytest.raises(ConfigError, match=r"formt.*value: \"csv\""):
        ingest(settings, "typo", DAY)
    assert not (settings.home / "lake" / "shopp").exists()
    assert not (settings.home / "lake" / "typo").exists()
