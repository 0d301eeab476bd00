"""Airflow as the team uses it, by its own pages: a run by the form, a backfill of a week, an asset, four roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from cradle import releases
from cradle.catalog import open_lake
from cradle.config import Settings
from tests.e2e.airflows import ROLES, Api, airflow_of
from tests.e2e.shops import ROWS, deliver, make_shops

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
DAG = "night_shop"
WEEK = [date(2026, 11, 8) + timedelta(days=n) for n in range(7)]
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_shops(tmp_path_factory.mktemp("shop"), ["shop"])


@pytest.fixture(scope="module")
def api(shop: Settings) -> Iterator[Api]:
    with airflow_of(shop, "admin") as made:
        made.known([DAG])
        yield made


@pytest.fixture(scope="module")
def page(api: Api, browser: Any) -> Iterator[Any]:
    """A page of an engineer who has signed in, in a browser far from UTC."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000}, timezone_id="America/New_York")
    context.add_init_script("localStorage.setItem('timezone', '\"UTC\"')")  # what a click on the clock keeps
    made = context.new_page()
    made.goto(api.address)
    made.locator("input[name=username]").fill("admin")
    made.locator("input[name=password]").fill("admin-password")
    made.get_by_role("button", name="Sign in").click()
    made.get_by_role("link", name="Dags").first.wait_for(timeout=WAIT_MS)
    yield made
    context.close()


def open_form(page: Any, api: Api) -> Any:
    page.goto(f"{api.address}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.locator("[role=dialog][data-scope=dialog][data-state=open]")
    form.get_by_text("Full refresh").wait_for(timeout=WAIT_MS)
    return form


def type_moment(page: Any, field: Any, day: str, hour: str) -> None:
    field.click()
    page.get_by_placeholder("YYYY/MM/DD").last.fill(day)
    page.get_by_placeholder("HH:mm").last.fill(hour)
    page.keyboard.press("Escape")


def test_the_form_says_what_each_field_does_and_a_run_does_what_it_says(
    page: Any, api: Api, screenshot: Any, shop: Settings
) -> None:
    nightly = api.until(f"/api/v2/dags/{DAG}/dagRuns", lambda answer: answer["dag_runs"])["dag_runs"][0]
    assert nightly["run_type"] == "scheduled"
    assert api.ended(DAG, nightly["dag_run_id"])["state"] == "success"
    form = open_form(page, api)
    for words in ("A source that is not chosen keeps what it has", "even what is known to be unchanged"):
        form.get_by_text(words).wait_for(timeout=WAIT_MS)
    form.get_by_role("button", name="Delete south").or_(form.get_by_label("Remove south")).first.click()
    form.locator("input[name=element_bake]").dispatch_event("click")
    screenshot(page, "airflow-form")
    form.get_by_role("button", name="Trigger").last.click()
    page.wait_for_url("**/runs/**", timeout=WAIT_MS)
    made = next(run for run in api.runs(DAG).values() if run["run_type"] == "manual")
    made = api.ended(DAG, made["dag_run_id"])
    assert (made["state"], made["conf"]["sources"], made["conf"]["bake"]) == ("success", ["north"], False)
    tasks = api.tasks(DAG, made["dag_run_id"])
    skipped = {(one["task_id"], one["rendered_map_index"]) for one in tasks if one["state"] == "skipped"}
    assert skipped == {("bake", None), ("verify", None), ("publish", None)}
    ingested = {one["rendered_map_index"] for one in tasks if one["task_id"] == "ingest"}
    assert ingested == {"north"}
    assert "all is well" in made["note"]
    assert "snapshots" in api.log(DAG, made["dag_run_id"], "preview"), "a run by hand says what it will change"


def test_a_week_is_backfilled_from_the_page_and_an_unchanged_day_makes_no_snapshot(
    page: Any, api: Api, screenshot: Any, shop: Settings
) -> None:
    deliver(shop, "shop", "north", str(WEEK[2]), rows=ROWS + 5)
    form = open_form(page, api)
    form.get_by_text("Backfill", exact=True).first.click()
    fields = form.get_by_text("Select date and time")
    type_moment(page, fields.first, "2026/11/08", "00:00")
    type_moment(page, fields.first, "2026/11/14", "23:59")
    form.get_by_text("7 runs will be triggered").wait_for(timeout=WAIT_MS)
    form.locator("input[name=element_bake]").dispatch_event("click")
    screenshot(page, "airflow-backfill")
    form.get_by_role("button", name="Run Backfill").click()
    runs = api.until(
        f"/api/v2/dags/{DAG}/dagRuns?run_type=backfill&limit=100",
        lambda answer: len(answer["dag_runs"]) == 7 and all(run["end_date"] for run in answer["dag_runs"]),
    )["dag_runs"]
    assert {run["state"] for run in runs} == {"success"}
    assert {run["logical_date"][:10] for run in runs} == {str(day) for day in WEEK}, "days as typed, in UTC"
    made = {one.logical_date: one for one in releases.releases(open_lake(shop, "shop"))}
    assert set(WEEK) <= made.keys()
    orders = {day: made[day].pins["marts.orders"].rows for day in WEEK}
    assert orders == {day: 2 * ROWS + (5 if day >= WEEK[2] else 0) for day in WEEK}
    snapshots = [made[day].pins["marts.orders"].snapshot_id for day in WEEK]
    assert len(set(snapshots)) == 2, "a day on which nothing changed makes no snapshot"


def test_the_newest_date_is_rebuilt_once_when_the_backfill_made_it_stale(api: Api, shop: Settings) -> None:
    rebuilt = api.until(
        f"/api/v2/dags/{DAG}/dagRuns?limit=100",
        lambda answer: any(run["dag_run_id"].startswith("rebuild__") for run in answer["dag_runs"]),
    )["dag_runs"]
    (run,) = [run for run in rebuilt if run["dag_run_id"].startswith("rebuild__")]
    assert api.ended(DAG, run["dag_run_id"])["state"] == "success"
    current = releases.current(open_lake(shop, "shop"))
    assert current is not None
    assert current.logical_date > WEEK[-1]
    assert current.pins["marts.orders"].rows == 2 * ROWS + 5


def test_the_pages_of_the_week_show_what_happened(page: Any, api: Api, screenshot: Any) -> None:
    page.goto(f"{api.address}/dags/{DAG}")
    page.get_by_text("preview").first.wait_for(timeout=WAIT_MS)
    screenshot(page, "airflow-week")
    page.goto(f"{api.address}/dags/{DAG}/backfills")
    page.get_by_text("2026").first.wait_for(timeout=WAIT_MS)
    events = api("GET", "/api/v2/assets/events?name_pattern=shop.release&limit=100")["asset_events"]
    told = [one for one in events if one["name"] == "shop.release"]
    assert {one["extra"]["logical_date"] for one in told} >= {str(day) for day in WEEK}
    assert all(len(one["extra"]["release_id"]) == 64 for one in told)
    page.goto(f"{api.address}/assets/{told[0]['asset_id']}")
    page.get_by_text("shop.release").first.wait_for(timeout=WAIT_MS)
    page.get_by_text("release_id").first.wait_for(timeout=WAIT_MS)
    screenshot(page, "airflow-asset")


def test_each_role_may_do_what_the_docs_say(api: Api) -> None:
    asked = {
        "see runs": ("GET", f"/api/v2/dags/{DAG}/dagRuns", None),
        "trigger": ("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": "never"}),
        "pools": ("PATCH", "/api/v2/pools/bake?update_mask=slots", {"name": "bake", "slots": "none"}),
        "connections": ("GET", "/api/v2/connections", None),
    }
    may = {
        role: {name for name, request in asked.items() if Api(api.address, role).refused(*request) != 403}
        for role in ROLES
    }
    assert may["viewer"] == {"see runs"}
    assert may["user"] == {"see runs", "trigger"}
    assert may["op"] == may["admin"] == set(asked)


def test_nothing_of_a_secret_is_in_airflow(api: Api, shop: Settings) -> None:
    assert api("GET", "/api/v2/variables")["total_entries"] == 0
    assert api("GET", "/api/v2/connections")["total_entries"] == 0
    kept = json.dumps([api.tasks(DAG, run) for run in api.runs(DAG)])
    assert "password" not in kept
    assert "secret" not in kept
