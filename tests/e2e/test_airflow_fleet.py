"""Many nights at once through the real scheduler: pools, a kill of everything, and what engineers run into."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from cradle import outcomes, releases
from cradle.alerts.causes import open_causes
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.summary import summary_path
from tests.e2e.airflows import ENDED, Api, airflow_of, postgres_of
from tests.e2e.conftest import Home
from tests.e2e.shops import make_shops
from tests.nights import contents, night
from tests.servers import Postgres
from tests.stacks import missing

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
DAY = date(2026, 11, 10)
SHOPS = ("ada_shop", "bob_shop", "cyd_shop")
# So that a killed task is noticed in seconds and not in minutes; nothing else is other than in production.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
}


def start_fleet(api: Api, settings: Settings, shops: tuple[str, ...]) -> str:
    api.known(["fleet", *(f"night_{shop}" for shop in shops)])
    return api.trigger("fleet", conf={"date": str(DAY), "bake": False, "customers": list(shops)})


def clean_night(tmp_path: Path, shops: tuple[str, ...]) -> dict[str, dict[str, str]]:
    settings = make_shops(tmp_path / "clean", shops)
    for shop in shops:
        night(settings, shop, DAY, upto="release")
    return {shop: contents(open_lake(settings, shop)) for shop in shops}


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[tuple[Settings, dict[str, str]]]:
    """Three customers, and an Airflow that keeps its state in PostgreSQL."""
    if Postgres.binaries() is None:
        pytest.skip(str(missing("s3")))
    settings = make_shops(tmp_path / "killed", SHOPS)
    with tempfile.TemporaryDirectory(prefix="cradle-airflow-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own
        with postgres_of(settings, folder / "postgres") as database:
            yield settings, {**IMPATIENT, **database}


def test_a_fleet_that_is_killed_in_the_middle_ends_as_if_nothing_had_been(
    killed: tuple[Settings, dict[str, str]], tmp_path: Path
) -> None:
    settings, environment = killed
    with airflow_of(settings, **environment) as api:
        run = start_fleet(api, settings, SHOPS)

        def in_the_middle(answer: Any) -> bool:
            states = {one["state"] for one in answer["task_instances"] if one["task_id"].startswith("build")}
            return "running" in states

        api.until("/api/v2/dags/~/dagRuns/~/taskInstances?limit=100&state=running", in_the_middle)
        api.kill()
    with airflow_of(settings, **environment) as api:
        assert api.ended("fleet", run)["state"] == "success"
        assert {api.runs(f"night_{shop}")[f"fleet__{run}"]["state"] for shop in SHOPS} == {"success"}
    assert {shop: contents(open_lake(settings, shop)) for shop in SHOPS} == clean_night(tmp_path, SHOPS)
    assert "3 of 3 nights ended well" in summary_path(settings, "_fleet", run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_shops(tmp_path_factory.mktemp("shop"), ["shop"])


@pytest.fixture(scope="module")
def api(shop: Settings) -> Iterator[Api]:
    with airflow_of(shop) as made:
        made.until("/api/v2/dags/night_shop", lambda answer: "dag_id" in answer)
        yield made


def test_a_paused_dag_runs_no_backfill_and_no_fleet_and_says_so(api: Api) -> None:
    assert api("GET", "/api/v2/dags/night_shop")["is_paused"] is True, "a new DAG is paused"
    number = api.backfill("night_shop", "2026-11-02", "2026-11-02")
    (run,) = api.runs("night_shop").values()
    assert run["state"] == "queued"
    api("PATCH", "/api/v2/dags/fleet", {"is_paused": False})
    fleet = api.trigger("fleet", conf={"bake": False})
    api.until(
        f"/api/v2/dags/fleet/dagRuns/{fleet}/taskInstances",
        lambda answer: any(one["state"] in ("failed", "up_for_retry") for one in answer["task_instances"]),
    )
    assert "airflow dags unpause night_shop" in json.dumps(
        api("GET", f"/api/v2/dags/fleet/dagRuns/{fleet}/taskInstances/start/logs/1?map_index=0")
    )
    api("PUT", f"/api/v2/backfills/{number}/cancel")


def test_a_cancelled_backfill_leaves_no_run_that_waits_for_ever(api: Api) -> None:
    number = api.backfill("night_shop", "2026-11-03", "2026-11-05", max_active_runs=1)
    api("PUT", f"/api/v2/backfills/{number}/cancel")
    left = api.until(
        "/api/v2/dags/night_shop/dagRuns?run_type=backfill&limit=100",
        lambda answer: all(one["state"] != "queued" for one in answer["dag_runs"]),
    )
    assert {one["state"] for one in left["dag_runs"]} == {"failed"}


def test_a_run_that_is_there_keeps_its_parameters_unless_told_otherwise(api: Api, shop: Settings) -> None:
    api("PATCH", "/api/v2/dags/night_shop", {"is_paused": False})
    first = api.trigger("night_shop", logical_date="2026-11-06T02:00:00Z", conf={"bake": False})
    assert api.ended("night_shop", first)["state"] == "success"
    versions = {one["dag_versions"][0]["version_number"] for one in api.runs("night_shop").values()}
    kept = repeat(api, first, reprocess_behavior="completed")
    assert kept["conf"] == {"bake": False}, "Airflow keeps what the run had"
    again = repeat(api, first, reprocess_behavior="completed", dag_run_conf={"bake": False, "full_refresh": True})
    assert again["conf"] == {"bake": False, "full_refresh": True}, "unless the backfill brings parameters"
    assert {one["version_number"] for one in again["dag_versions"]} == versions, "a reload makes no new version"


def repeat(api: Api, run_id: str, **body: Any) -> dict[str, Any]:
    """Run a date again by a backfill and return its run."""
    before = api.runs("night_shop")[run_id]["end_date"]
    number = api.backfill("night_shop", "2026-11-06", "2026-11-06", **body)
    run: dict[str, Any] = api.until(
        f"/api/v2/dags/night_shop/dagRuns/{run_id}",
        lambda answer: answer["state"] in ENDED and answer["end_date"] not in (before, None),
    )
    assert run["state"] == "success"
    api.until(f"/api/v2/backfills/{number}", lambda answer: answer["completed_at"])  # only one at a time is allowed
    return run


def test_a_night_from_the_terminal_is_handed_to_the_scheduler_that_is_alive(api: Api, shop: Settings) -> None:
    home = Home(shop)
    said = home.run("night", "shop", "--date", "2026-11-07", "--json")
    run_id = json.loads(said.stdout)["night"]["run_id"]
    run = api.runs("night_shop")[run_id]
    assert (run["triggering_user_name"], run["state"]) == ("cradle night", "success")
    made = outcomes.of_run(shop, "shop", date(2026, 11, 7), run_id)
    told = [(one["verb"], one["inputs"].get("layer"), tuple(one["inputs"].get("sources", ()))) for one in made]
    assert len(told) == len(set(told)), "no task ran twice"
    failed = home.run("night", "shop", "--date", "2026-10-01", check=False)
    assert failed.returncode == 4
    assert "nothing delivered on or before 2026-10-01" in " ".join(failed.stderr.split())


def test_a_changed_customer_file_does_not_slip_in_through_a_backfill(api: Api, shop: Settings) -> None:
    path = shop.customers / "shop.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["installation"]["sources"][0]["dialect"]["date_format"] = "%d.%m.%Y"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    older = api.trigger("night_shop", logical_date="2026-11-04T12:00:00Z", conf={"bake": False})
    assert api.ended("night_shop", older)["state"] == "success"
    made = {one.logical_date: one for one in releases.releases(open_lake(shop, "shop"))}
    assert made[date(2026, 11, 4)].epoch == 1
    tonight = api.trigger("night_shop", conf={"bake": False})
    assert api.ended("night_shop", tonight)["state"] == "failed"
    assert "installation block has changed" in json.dumps(
        api("GET", f"/api/v2/dags/night_shop/dagRuns/{tonight}/taskInstances/ingest/logs/1?map_index=0")
    )
    open_now = [cause for _, cause in open_causes(shop, "shop") if "EpochRefused" in cause.what]
    assert len(open_now) == 1, "two sources were refused for one cause, and the run and its end both told of it"


def test_a_file_appears_and_its_dag_appears_a_broken_one_shows_as_broken(api: Api, shop: Settings) -> None:
    text = (shop.customers / "shop.yaml").read_text(encoding="utf-8")
    (shop.customers / "second.yaml").write_text(text.replace("customer: shop", "customer: second"), encoding="utf-8")
    (shop.customers / "torn.yaml").write_text("customer: [", encoding="utf-8")
    for dag in ("night_second", "night_torn", "maintenance_second"):
        api.until(f"/api/v2/dags/{dag}", lambda answer: "dag_id" in answer)
    broken = api("GET", "/api/v2/dags?tags=broken")["dags"]
    assert [one["dag_id"] for one in broken] == ["night_torn"]
    assert api("GET", "/api/v2/importErrors")["total_entries"] == 0
