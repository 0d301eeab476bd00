"""Nights through Airflow: from the command line, and by the real scheduler, looked at in Airflow's own pages."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from cradle import outcomes
from cradle.config import Settings
from tests.e2e.airflows import airflow_of
from tests.e2e.conftest import FIRST_DAY, Home

pytestmark = pytest.mark.e2e

WAIT_MS = 60_000
TASKS = ("ingest", "build.staging", "build.marts", "chunk", "embed", "index", "release", "bake", "verify")


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
    assert {name.split("/")[0].removeprefix("task_id=") for name in said} == {*TASKS, "preview", "publish", "report"}
    assert "build ends" in said["task_id=build.marts/attempt=1.log"]
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


def test_the_graph_shows_the_night(home: Home, browser: Any, screenshot: Any) -> None:
    run_id, _ = runs(home.settings)[0]
    with airflow_of(home.settings) as api:
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"{api.address}/dags/night_demo/runs/{quote(run_id)}")
        page.get_by_text("Success").first.wait_for(timeout=WAIT_MS)
        page.get_by_label("Show Graph").or_(page.get_by_title("Show Graph")).first.click()
        for task in ("preview", "ingest", "build", "release", "verify", "report"):
            page.locator(".react-flow__node", has_text=task).first.wait_for(timeout=WAIT_MS)
        screenshot(page, "airflow-graph")
        page.close()
