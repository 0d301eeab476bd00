"""The dashboards in a real browser, against an independent computation from the delivered file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from cradle.cli.ui import dashboards, running
from cradle.config import Settings
from tests.e2e.conftest import Home

pytestmark = pytest.mark.e2e

NEXT_DAY = "2024-03-31"
NEW_ORDER = "ORD-9999,CUST-0001,2024-03-31,Laptop,1,999.99,North\n"
WAIT_MS = 60_000


def figures(file: Path, **wanted: str) -> dict[str, str]:
    """Compute the four figures with Python decimals from the CSV."""
    with file.open(encoding="utf-8", newline="") as text:
        rows = [row for row in csv.DictReader(text) if all(row[name] == value for name, value in wanted.items())]
    revenue = sum((int(row["quantity"]) * Decimal(row["amount"]) for row in rows), Decimal(0))
    orders = len({row["order_id"] for row in rows})
    return {
        "Total Revenue": euros(revenue),
        "Total Orders": f"{orders:,}",
        "Unique Customers": f"{len({row['customer_id'] for row in rows}):,}",
        "Avg Order Value": euros(revenue / orders),
    }


def euros(value: Decimal) -> str:
    return f"€{value.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


@pytest.fixture(scope="module")
def address(home: Home) -> Iterator[str]:
    with running([dashboards(home.settings)]) as ((service, _),):
        assert service.address is not None
        yield service.address


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1440, "height": 1400})
    yield made
    made.close()


def open_page(page: Any, address: str, title: str) -> None:
    page.goto(address)
    page.get_by_role("heading", name=title).wait_for(timeout=WAIT_MS)
    settle(page)


def settle(page: Any) -> None:
    """Wait until Streamlit has run the script for the newest input."""
    page.wait_for_timeout(300)
    page.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')", timeout=WAIT_MS)
    page.wait_for_timeout(300)


def shown(page: Any) -> dict[str, str]:
    metrics = page.get_by_test_id("stMetric")
    metrics.nth(3).wait_for(timeout=WAIT_MS)
    labels = metrics.get_by_test_id("stMetricLabel").all_inner_texts()
    values = metrics.get_by_test_id("stMetricValue").all_inner_texts()
    return dict(zip((label.strip() for label in labels), (value.strip() for value in values), strict=True))


def pick(page: Any, label: str, choice: str) -> None:
    page.get_by_test_id("stSelectbox").filter(has_text=label).locator("input").click()
    page.get_by_role("option", name=choice).click()
    settle(page)


def test_the_figures_equal_those_of_the_delivered_file(page: Any, address: str, home: Home, screenshot: Any) -> None:
    open_page(page, address, "Sales Dashboard")
    assert shown(page) == figures(home.sales)
    assert shown(page)["Total Revenue"] == "€3,035,021.03"
    assert shown(page)["Unique Customers"] == "199"
    page.wait_for_timeout(1500)
    assert page.locator(".vega-embed canvas, .vega-embed svg").count() == 3
    assert page.get_by_test_id("stException").count() == 0
    screenshot(page, "dashboard-sales")


def test_every_filter_changes_the_figures_as_it_says(page: Any, address: str, home: Home) -> None:
    open_page(page, address, "Sales Dashboard")
    pick(page, "Region", "North")
    assert shown(page) == figures(home.sales, region="North")
    pick(page, "Product", "Laptop")
    assert shown(page) == figures(home.sales, region="North", product="Laptop")
    pick(page, "Region", "All")
    assert shown(page) == figures(home.sales, product="Laptop")


def test_the_release_and_its_age_are_on_the_page(page: Any, address: str, home: Home) -> None:
    open_page(page, address, "Sales Dashboard")
    text = page.locator("body").inner_text()
    assert "30 March 2024" in text
    assert " ago (" in text
    assert "current release" in text


def test_the_catalogue_answers_by_meaning(page: Any, address: str, screenshot: Any) -> None:
    open_page(page, f"{address}/catalogue", "Catalogue and Documents")
    page.get_by_label("What are you looking for?").fill("something to sit on in the office")
    page.keyboard.press("Enter")
    page.get_by_text("DEMO-CHA-07", exact=True).wait_for(timeout=WAIT_MS)
    settle(page)
    first = page.get_by_test_id("stMain").inner_text()
    assert first.index("Desk Chair") < first.index("Headset")
    screenshot(page, "dashboard-catalogue")


def test_the_nights_show_every_verb(page: Any, address: str, screenshot: Any) -> None:
    open_page(page, f"{address}/nights", "Nights")
    assert shown(page)["Verbs That Ended Well"] == "8 of 8"
    assert shown(page)["Open Failures"] == "0"
    screenshot(page, "dashboard-nights")


def test_a_new_order_shows_and_the_release_before_answers_as_before(home: Home, browser: Any) -> None:
    before, kept = figures(home.sales), home.sales.read_bytes()
    try:
        home.sales.write_bytes(kept + NEW_ORDER.encode())
        home.night(NEXT_DAY)
        with running([dashboards(home.settings)]) as ((service, _),):
            page = browser.new_page(viewport={"width": 1440, "height": 1400})
            open_page(page, str(service.address), "Sales Dashboard")
            now = shown(page)
            assert now == figures(home.sales)
            assert now["Total Orders"] == "1,001"
            assert "ORD-9999" in home.sales.read_text()
            pick(page, "Release", "30 Mar 2024")
            assert shown(page) == before
            assert "an older release" in page.locator("body").inner_text()
            page.close()
    finally:
        home.sales.write_bytes(kept)


def test_without_a_release_the_page_says_how_to_make_one(browser: Any, tmp_path: Path) -> None:
    with running([dashboards(Settings(home=tmp_path))]) as ((service, _),):
        page = browser.new_page()
        open_page(page, str(service.address), "Sales Dashboard")
        assert "cradle night demo" in page.locator("body").inner_text()
        assert page.get_by_test_id("stMetric").count() == 0
        page.close()
