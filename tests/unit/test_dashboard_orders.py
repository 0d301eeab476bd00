"""The queries of the sales page against plain Python over the same order lines."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlit_apps import orders
from streamlit_apps.pinned import age
from streamlit_apps.views.sales import money

FIRST = date(2024, 1, 1)
SCHEMA = pa.schema(
    [
        ("order_id", pa.string()),
        ("customer_id", pa.string()),
        ("order_date", pa.date32()),
        ("product", pa.string()),
        ("quantity", pa.int64()),
        ("amount", pa.decimal128(18, 4)),
        ("region", pa.string()),
        ("line_total", pa.decimal128(18, 4)),
        ("_row_number", pa.int64()),
    ]
)
LINE = st.fixed_dictionaries(
    {
        "order_id": st.sampled_from(["A", "B", "C", "D"]),
        "customer_id": st.one_of(st.none(), st.sampled_from(["x", "y"])),
        "order_date": st.integers(0, 12).map(lambda days: FIRST + timedelta(days=days)),
        "product": st.sampled_from(["Laptop", 'O\'Neill "bag"', "Stuhl für Gäste"]),
        "quantity": st.integers(-3, 9),
        "amount": st.decimals(Decimal("-10"), Decimal("9999"), places=4),
        "region": st.one_of(st.none(), st.sampled_from(["North", "South"])),
    }
)
Lines = list[dict[str, Any]]


def written(folder: Path, lines: Lines) -> str:
    rows = [
        {**line, "line_total": line["amount"] * line["quantity"], "_row_number": at} for at, line in enumerate(lines, 2)
    ]
    file = folder / f"{len(list(folder.iterdir()))}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    return str(file)


def matching(lines: Lines, chosen: orders.Filter) -> Lines:
    return [
        line
        for line in lines
        if chosen.first <= line["order_date"] <= chosen.last
        and chosen.region in (None, line["region"] or orders.NOT_GIVEN)
        and chosen.product in (None, line["product"])
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINE, min_size=1, max_size=12),
    region=st.sampled_from([None, "North", orders.NOT_GIVEN]),
    product=st.sampled_from([None, 'O\'Neill "bag"']),
    days=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_every_figure_equals_the_one_computed_by_hand(
    tmp_path: Path, lines: Lines, region: str | None, product: str | None, days: tuple[int, int]
) -> None:
    first, last = (FIRST + timedelta(days=one) for one in sorted(days))
    chosen = orders.Filter(written(tmp_path, lines), first, last, region, product)
    kept = matching(lines, chosen)
    found = orders.totals(chosen)
    revenue = sum((line["amount"] * line["quantity"] for line in kept), Decimal(0))
    assert found.revenue == revenue
    assert found.orders == len({line["order_id"] for line in kept})
    assert found.customers == len({line["customer_id"] for line in kept} - {None})
    assert found.lines == len(kept) == len(orders.lines(chosen, None))
    by_region: dict[str, Decimal] = defaultdict(Decimal)
    for line in kept:
        by_region[line["region"] or orders.NOT_GIVEN] += line["amount"] * line["quantity"]
    bars = orders.by_name(chosen, "region")
    assert dict(zip(bars["name"], bars["revenue"], strict=True)) == pytest.approx(
        {name: float(value) for name, value in by_region.items()}
    )
    assert list(bars["revenue"]) == sorted(bars["revenue"], reverse=True)


def test_a_day_without_orders_is_a_zero_in_the_trend(tmp_path: Path) -> None:
    line = {"order_id": "A", "customer_id": "x", "product": "Laptop", "quantity": 1, "region": None}
    lines = [
        {**line, "order_date": FIRST, "amount": Decimal("7.0000")},
        {**line, "order_date": FIRST + timedelta(days=3), "amount": Decimal("1.0000")},
    ]
    days = orders.by_day(orders.Filter(written(tmp_path, lines), FIRST, FIRST + timedelta(days=30), None, None))
    assert list(days["revenue"]) == [7.0, 0.0, 0.0, 1.0]
    assert list(days["week"]) == pytest.approx([7.0, 3.5, 7 / 3, 2.0])


def test_lines_come_newest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    line = {"customer_id": "x", "product": "Laptop", "quantity": 1, "region": None, "amount": Decimal("1.0000")}
    lines = [{**line, "order_id": f"{at}", "order_date": FIRST + timedelta(days=at)} for at in range(5)]
    chosen = orders.Filter(written(tmp_path, lines), FIRST, FIRST + timedelta(days=30), None, None)
    assert list(orders.lines(chosen, 2)["order_id"]) == ["4", "3"]
    assert list(orders.lines(chosen, None)["order_id"]) == ["4", "3", "2", "1", "0"]


def test_an_empty_table_has_nothing_to_choose(tmp_path: Path) -> None:
    assert orders.extent(written(tmp_path, [])) is None


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [("3035021.025", "EUR", "€3,035,021.03"), ("-0.005", "EUR", "-€0.01"), ("1234", "pcs", "1,234.00")],
)
def test_money_is_rounded_half_up_and_grouped(value: str, unit: str, expected: str) -> None:
    assert money(Decimal(value), unit) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "less than a minute"), (59, "less than a minute"), (60, "1 minute"), (7_200, "2 hours"), (86_400, "1 day")],
)
def test_the_age_is_told_in_its_greatest_unit(seconds: int, expected: str) -> None:
    now = datetime(2024, 3, 30, tzinfo=UTC)
    assert age(now - timedelta(seconds=seconds), now) == expected
