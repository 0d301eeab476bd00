"""A build with a task per dbt model: what it leaves, what its tasks say when they fail, what parsing costs."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cradle import outcomes, releases
from cradle.catalog import open_lake, resolve, tables
from cradle.catalog.ops import rows as ops_rows
from cradle.config import PROJECT, Settings
from dbt_project.plugins.build import build
from dbt_project.plugins.graph import MANIFEST, dbt_manifest
from dlt_pipelines.ingest import ingest
from tests.model_nights import build_by_model, dag_file
from tests.nights import DAY
from tests.unit.test_dags import HEAVY

pytestmark = pytest.mark.integration
SHOP = """
customer: shop
installation:
  sources:
    - name: list
      role: products
      format: csv
      files: ["*.csv"]
      columns:
        - {name: sku, required: true}
        - {name: name}
        - {name: weight, type: decimal}
    - {name: cars, role: cars, format: text, files: ["*.txt"]}
operation: {dbt_tasks: model}
"""
TASKS = {
    "build.begin",
    "build.stg_products.run",
    "build.stg_products.test",
    "build.rejects_products_run",
    "build.all_accounted_stg_products_rejects_products__products_test",
    "build.syndication_products.run",
    "build.syndication_products.test",
    "build.products_documents.run",
    "build.products_documents.test",
    "build.relationships_products_documents_sku__sku__ref_syndication_products__test",
    "build.publish",
}


def shop(folder: Path, *lines: str) -> Settings:
    """Settings of a home with a shop whose list of products is ingested."""
    found = Settings(home=folder / "home", customers=folder / "customers", environment="dev_analytics")
    found.customers.mkdir(parents=True, exist_ok=True)
    (found.customers / "shop.yaml").write_text(SHOP)
    found.inbox("shop").mkdir(parents=True, exist_ok=True)
    deliver(found, *lines)
    (found.inbox("shop") / "cars.txt").write_text("no model reads this")
    return found


def deliver(found: Settings, *lines: str) -> None:
    (found.inbox("shop") / "list.csv").write_text("\n".join(["sku,name,weight", *lines]) + "\n")


def made(found: Settings, ref: str) -> dict[str, tuple[str, str]]:
    """Return table → step key and content digest of what stands on a branch."""
    lake = open_lake(found, "shop")
    pins = {table: resolve(lake, table, ref) for layer in ("staging", "marts") for table in tables(lake, layer)}
    return {table: (pin.step_key, pin.content_digest) for table, pin in pins.items() if pin}


def reject_rows(found: Settings) -> list[dict[str, Any]]:
    return sorted(ops_rows(open_lake(found, "shop"), "ops.rejects"), key=str)


@pytest.mark.long
def test_a_build_per_model_leaves_what_a_build_per_layer_leaves_and_stops_where_a_test_fails(tmp_path: Path) -> None:
    lines = ["A,first,1.5", "B,second,none", ",nameless,2"]
    found = shop(tmp_path / "models", *lines)
    ingest(found, "shop", DAY)
    first = build_by_model(found, "shop", DAY, tmp_path / "dags")
    assert (first["state"], first["failed"]) == ("success", {})
    assert {task: one["state"] for task, one in first["tasks"].items()} == dict.fromkeys(TASKS, "success")

    layered = shop(tmp_path / "layers", *lines)
    ingest(layered, "shop", DAY)
    whole = [build(layered, "shop", DAY, layer) for layer in ("staging", "marts")]
    assert len(made(found, "main")) == 3
    assert made(found, "main") == made(layered, "main")
    assert reject_rows(found) == reject_rows(layered)
    assert {row["reason"] for row in reject_rows(found)} == {"missing_required", "not_a_decimal"}
    last = outcomes.last(found, "shop", DAY)["build"]
    assert last["outputs"]["attempt"] == first["published"]["attempt"] == 1
    assert last["counts"] == {"tables": 3, "written": 3, "tests": sum(one.tests for one in whole)}

    later, before = DAY + timedelta(days=1), made(found, "main")
    deliver(found, "A,first,1.5", "A,again,2")
    ingest(found, "shop", later)
    second = build_by_model(found, "shop", later, tmp_path / "dags")
    ((task, (kind, message)),) = second["failed"].items()
    assert (task, kind) == ("build.stg_products.test", "BuildFailed")
    assert "unique_stg_products_sku: fail, 1 rows" in message
    assert "row: {'unique_field': 'A', 'n_records': 2}" in message
    sql = Path(message.partition("SQL: ")[2].splitlines()[0])
    assert "group by sku" in sql.read_text()
    assert second["tasks"][task] == {"state": "failed", "tries": 1}  # no try after it: it would fail again
    assert second["tasks"]["build.publish"]["state"] == "upstream_failed"
    assert made(found, "main") == before
    told = outcomes.last(found, "shop", later)["build"]
    assert (told["ok"], told["error"]["type"], told["inputs"]) == (
        False,
        "BuildFailed",
        {"attempt": 1, "test": "stg_products"},
    )
    assert releases.newest_attempt(open_lake(found, "shop"), later) == 1


def test_the_graph_that_cosmos_reads_is_the_projects() -> None:
    assert MANIFEST.read_text(encoding="utf-8") == dbt_manifest(), "run `make docs`"


PROBE = """
import json, sys
sys.path.insert(0, {dags!r})
from cradle.airflow_environment import set_airflow_environment
from cradle.config import settings
set_airflow_environment(settings())
import model_tasks
light = sorted(sys.modules)
connected, started = [], []
def hook(event, arguments):
    if event == "socket.connect":
        connected.append(str(arguments[1]))
    if event in ("subprocess.Popen", "os.system", "os.exec"):
        started.append(str(arguments[0]))
sys.addaudithook(hook)
found = {{}}
exec(sys.argv[1], found)
dags = {{name.removeprefix("build_"): {{task.task_id: {{
    "after": sorted(task.upstream_task_ids), "doc": task.doc_md, "tries": task.retries,
    "policy": task.retry_policy is not None, "rule": task.trigger_rule.value,
}} for task in dag.tasks}} for name, dag in found.items() if name.startswith("build_")}}
json.dump({{"light": light, "modules": sorted(sys.modules), "dags": dags, "connected": connected,
           "started": started}}, sys.stdout)
"""


def probe(found: Settings, *customers: str) -> dict[str, Any]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "CRADLE_ENVIRONMENT": "dev_analytics"}
    environment |= {"CRADLE_CUSTOMERS": str(found.customers), "CRADLE_HOME": str(found.home)}
    command = [sys.executable, "-c", PROBE.format(dags=str(PROJECT / "dags")), dag_file(*customers)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"light"') :])
    return content


def test_parsing_draws_the_models_of_the_customers_roles_and_runs_no_dbt(tmp_path: Path) -> None:
    found = shop(tmp_path, "A,first,1.5")
    (found.customers / "cars.yaml").write_text(
        "customer: cars\ninstallation:\n  sources: [{name: cars, role: cars, format: csv, files: ['*.csv']}]\n"
    )
    seen = probe(found, "shop", "cars")
    assert set(seen["dags"]["shop"]) == TASKS
    assert set(seen["dags"]["cars"]) == {"build.begin", "build.publish"}
    above = {task: one["after"] for task, one in seen["dags"]["shop"].items()}
    assert above["build.stg_products.run"] == ["build.begin"]
    assert above["build.syndication_products.run"] == ["build.stg_products.test"]
    leaves = TASKS - {"build.publish"} - {task for one in list(above) if one != "build.publish" for task in above[one]}
    assert set(above["build.publish"]) == leaves | {"build.begin"}
    for task in seen["dags"]["shop"].values():
        assert task["doc"]
        assert (task["tries"] > 0, task["policy"], task["rule"]) == (True, True, "none_failed")
    assert "cosmos.converter" in seen["modules"]
    assert "cosmos.converter" not in seen["light"]
    assert {name.split(".")[0] for name in seen["modules"]} & set(HEAVY) == set()
    assert seen["connected"] == []
    assert not any("dbt" in one for one in seen["started"])
