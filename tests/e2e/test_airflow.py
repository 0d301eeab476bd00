"""Nights through Airflow: from the command line, and by the real scheduler, looked at in Airflow's own pages."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import yaml

from cradle import outcomes
from cradle.cli.ui import airflow, running
from cradle.config import Settings
from cradle.examples.demo import sales_csv
from cradle.names import NIGHT
from tests.e2e.conftest import FIRST_DAY, ROOT, Home

pytestmark = pytest.mark.e2e

WAIT_MS = 60_000
POLLS = 240  # of a second each: the scheduler needs about a minute for a night on 2 cores


def runs(settings: Settings) -> list[tuple[str, str]]:
    """Return id and state of every DAG run in Airflow's database, oldest first."""
    with sqlite3.connect(f"file:{settings.airflow() / 'airflow.db'}?mode=ro", uri=True) as database:
        return database.execute("select run_id, state from dag_run order by start_date").fetchall()


def test_a_second_night_of_the_same_date_is_a_no_op_and_a_run_of_its_own(home: Home) -> None:
    before = runs(home.settings)
    status = json.loads(home.run("status", "demo", "--json").stdout)
    again = home.night(FIRST_DAY)
    after = runs(home.settings)
    assert len(after) == len(before) + 1
    assert {state for _, state in after} == {"success"}
    assert set(again["night"]["changed"].values()) == {0}
    assert again["release"] == status["release"]
    assert again["image"] == status["image"]


def test_a_run_whose_process_was_killed_is_ended_by_the_next_night(home: Home) -> None:
    killed, state = runs(home.settings)[-1]
    with sqlite3.connect(home.settings.airflow() / "airflow.db") as database:
        database.execute(
            "update dag_run set state = 'running', triggering_user_name = 'dag_test' where run_id = ?", (killed,)
        )
    home.night(FIRST_DAY)
    now = dict(runs(home.settings))
    assert (state, now[killed]) == ("success", "failed")
    assert len(set(now.values()) - {"failed"}) == 1


def test_ui_starts_three_servers_and_ctrl_c_stops_them_all(home: Home) -> None:
    with home.start("ui", "demo") as process:
        said = "".join(iter(lambda: process.stdout.readline(), "Ctrl-C stops all of them.\n"))
        addresses = re.findall(r"http://\S+", said)
        children = psutil.Process(process.pid).children(recursive=True)
        for address in addresses:
            with urllib.request.urlopen(address, timeout=30) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert [name for name in ("Airflow", "Dashboards", "API") if name not in said] == []
    assert len(addresses) == 3
    assert len(children) >= 5
    assert (process.returncode, "Stopped." in rest) == (0, True)
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


def test_each_task_has_its_log_where_airflow_looks_for_it(home: Home) -> None:
    run_id, _ = runs(home.settings)[0]
    folder = home.settings.airflow() / "logs" / "dag_id=night_demo" / f"run_id={run_id}"
    said = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.log")}
    assert {name.split("/")[0] for name in said} == {f"task_id={verb}" for verb in NIGHT}
    assert "build ends" in said["task_id=build/attempt=1.log"]
    assert sum(name.startswith("task_id=ingest/map_index=") for name in said) == 5


def test_the_verbs_own_error_and_exit_code_come_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = Home(Settings(home=tmp_path_factory.mktemp("empty")))
    done = empty.run("night", "demo", "--date", FIRST_DAY, check=False)
    assert done.returncode == 4
    assert "nothing delivered on or before 2024-03-30" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stdout + done.stderr
    assert "airflow" not in (done.stdout + done.stderr).lower().replace(str(empty.settings.home), "")
    ended = outcomes.last(empty.settings, "demo")
    assert list(ended) == ["ingest"]
    assert ended["ingest"]["error"]["type"] == "NothingDelivered"


class Api:
    """Airflow's REST API."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._token = ""
        self._token = self("GET", "/auth/token")["access_token"]

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(f"{self.address}{path}", method=method)
        request.add_header("content-type", "application/json")
        request.add_header("authorization", f"Bearer {self._token}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=30) as answer:
            return json.load(answer)

    def until(self, path: str, done: Callable[[Any], bool]) -> Any:
        """Ask until the answer is what is waited for."""
        for _ in range(POLLS):
            with contextlib.suppress(urllib.error.HTTPError):
                if done(answer := self("GET", path)):
                    return answer
            threading.Event().wait(1)
        raise AssertionError(f"{path} did not come to an end: {self('GET', path)}")


@contextlib.contextmanager
def airflow_of(settings: Settings) -> Iterator[Api]:
    with running(airflow(settings, 0)) as ((service, _), *_):
        assert service.address is not None
        yield Api(service.address)


def test_the_graph_shows_the_night(home: Home, browser: Any, screenshot: Any) -> None:
    run_id, _ = runs(home.settings)[0]
    with airflow_of(home.settings) as api:
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"{api.address}/dags/night_demo/runs/{quote(run_id)}")
        page.get_by_text("Success").first.wait_for(timeout=WAIT_MS)
        page.get_by_label("Show Graph").or_(page.get_by_title("Show Graph")).first.click()
        for verb in NIGHT:
            page.locator(".react-flow__node", has_text=verb).first.wait_for(timeout=WAIT_MS)
        screenshot(page, "airflow-graph")
        page.close()


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    """A customer with two sources of sales and no texts."""
    content = yaml.safe_load((ROOT / "data" / "customers" / "demo.yaml").read_text(encoding="utf-8"))
    source = content["installation"]["sources"][0]
    content["customer"] = "shop"
    content["installation"] = {
        "sources": [{**source, "name": name, "files": [f"{name}/*.csv"]} for name in ("north", "south")],
        "image": {"golden": [{"ask": "count", "table": "marts.orders", "expect": {"min_rows": 60}}]},
    }
    settings = Settings(home=tmp_path / "home", customers=tmp_path / "customers")
    settings.customers.mkdir()
    (settings.customers / "shop.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for name, first in (("north", "N"), ("south", "S")):
        folder = settings.inbox("shop") / name
        folder.mkdir(parents=True)
        (folder / "sales.csv").write_bytes(sales_csv(7, 30).replace(b"ORD-", f"{first}-".encode()))
    return settings


@pytest.mark.long
def test_the_scheduler_runs_the_night_and_does_what_the_form_says(shop: Settings) -> None:
    dag = "/api/v2/dags/night_shop"
    with airflow_of(shop) as api:
        api.until(dag, lambda answer: "dag_id" in answer)
        api("PATCH", dag, {"is_paused": False})
        nightly = api.until(f"{dag}/dagRuns", ended)["dag_runs"][0]
        assert (nightly["run_type"], nightly["state"]) == ("scheduled", "success")
        wanted = {
            "logical_date": nightly["logical_date"][:10] + "T23:00:00Z",
            "conf": {"sources": ["north"], "bake": False},
        }
        path = f"{dag}/dagRuns/{quote(api('POST', f'{dag}/dagRuns', wanted)['dag_run_id'])}"
        made = api.until(path, lambda answer: answer["state"] in ("success", "failed"))
        tasks = api("GET", f"{path}/taskInstances")["task_instances"]
        log = json.dumps(api("GET", f"{path}/taskInstances/build/logs/1"))
    assert made["state"] == "success"
    skipped = {(one["task_id"], one["rendered_map_index"]) for one in tasks if one["state"] == "skipped"}
    assert skipped == {("ingest", "south"), ("bake", None), ("verify", None)}
    assert "build ends" in log
    ended_well = outcomes.last(shop, "shop", date.fromisoformat(nightly["logical_date"][:10]))
    assert {verb for verb, one in ended_well.items() if one["ok"]} == set(NIGHT)


def ended(answer: Any) -> bool:
    return bool(answer["dag_runs"]) and answer["dag_runs"][0]["state"] in ("success", "failed")
