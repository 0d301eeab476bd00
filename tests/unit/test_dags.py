"""The DAG file: what it makes, what it imports, what it reads while Airflow parses it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cradle.names import POOLS

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
HEAVY = ["chromadb", "dbt", "dlt", "duckdb", "faiss", "numpy", "onnxruntime", "pandas", "pyarrow", "pyiceberg", "torch"]
CUSTOMERS = 200
MOST_LINES = 80

PROBE = """
import importlib, json, sys

sys.path.insert(0, {dags!r})
from cradle.airflow_environment import set_airflow_environment
from cradle.config import load_settings
set_airflow_environment(load_settings())
import airflow.sdk
opened, connected = [], []
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".yaml"):
        opened.append(str(arguments[0]))
    if event == "socket.connect":
        connected.append(str(arguments[1]))
before = set(sys.modules)
sys.addaudithook(hook)
from airflow.sdk.definitions._internal.contextmanager import DagContext
for name in ("nights", "maintenance", "fleet"):
    DagContext.current_autoregister_module_name = name
    importlib.import_module(name)
from cradle import errors
dags = {{}}
for dag, _ in DagContext.autoregistered_dags:
    dags[dag.dag_id] = {{
        "schedule": [getattr(dag.timetable, "expression", None), str(getattr(dag.timetable, 'timezone', ''))],
        "timetable": type(dag.timetable).__name__,
        "catchup": dag.catchup, "runs": dag.max_active_runs, "doc": dag.doc_md, "tags": sorted(dag.tags),
        "params": {{name: [dag.params[name], dag.params.get_param(name).schema] for name in dag.params}},
        "edges": sorted(f"{{task.task_id}} > {{after}}" for task in dag.tasks for after in task.downstream_task_ids),
        "tasks": {{task.task_id: {{
            "owner": task.owner, "doc": task.doc_md, "retries": task.retries, "mapped": task.is_mapped,
            "pool": task.pool, "priority": task.priority_weight, "rule": str(task.weight_rule),
            "assets": [one.name for one in task.outlets], "teardown": task.is_teardown,
            "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
            "retry": task.retry_policy and {{
                name: task.retry_policy.evaluate(getattr(errors, name)("x"), 1, 2).action.value
                for name in ("CommitConflict", "Unavailable", "FileChanging", "ConfigError", "BuildFailed", "Fenced")
            }},
            "retry_other": task.retry_policy and task.retry_policy.evaluate(ValueError("x"), 1, 2).action.value,
        }} for task in dag.tasks}},
    }}
json.dump({{"dags": dags, "opened": opened, "connected": connected, "modules": sorted(sys.modules)}}, sys.stdout)
"""


def probe(folder: Path, home: Path, dag: str | None = None) -> dict[str, Any]:
    """Import the DAG file in a process of its own and return what came of it."""
    script = PROBE.format(dags=str(DAGS))
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "CRADLE_CUSTOMERS": str(folder),
        "CRADLE_HOME": str(home),
        **({"_AIRFLOW_PARSING_CONTEXT_DAG_ID": dag} if dag else {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"dags"') :])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with many customers; the YAML of one has a typo, that of another can't be parsed."""
    made = tmp_path_factory.mktemp("customers")
    demo = yaml.safe_load((ROOT / "data" / "customers" / "demo.yaml").read_text(encoding="utf-8"))
    for number in range(CUSTOMERS):
        name = f"shop_{number:03d}"
        operation = {**demo["operation"], "timezone": "Europe/Berlin", "schedule": "30 1 * * *", "owner": "night-shift"}
        operation |= {"tier": ("gold", "silver", "bronze")[number % 3], "dbt_tasks": "layer"}
        content = {**demo, "customer": name, "operation": operation}
        (made / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    typo = {**demo, "customer": "typo", "instalation": demo["installation"]}
    (made / "typo.yaml").write_text(yaml.safe_dump(typo), encoding="utf-8")
    (made / "torn.yaml").write_text("customer: torn\n  installation: [", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return probe(folder, tmp_path_factory.mktemp("home"))


def test_every_customer_has_a_dag_and_a_broken_file_breaks_its_own_only(found: dict[str, Any]) -> None:
    shops = {f"shop_{number:03d}" for number in range(CUSTOMERS)}
    upkeep = {f"maintenance_{shop}" for shop in shops}
    assert found["dags"].keys() == {f"night_{shop}" for shop in shops} | upkeep | {"night_typo", "night_torn", "fleet"}
    assert {name for name, dag in found["dags"].items() if "broken" in dag["tags"]} == {"night_typo", "night_torn"}
    assert "instalation" in found["dags"]["night_typo"]["doc"]
    assert list(found["dags"]["night_torn"]["tasks"]) == ["read_customer_file"]


def test_the_chain_is_the_night_in_its_order(found: dict[str, Any]) -> None:
    dag = found["dags"]["night_shop_007"]
    vectors = ["chunk", "embed", "index"]
    chain = ["preview", "ingest", "build.staging", "build.marts", *vectors, "release", "bake", "verify", "publish"]
    along = {f"{before} > {after}" for before, after in itertools.pairwise([*chain, "report"])}
    handed_on = {"build.marts > release", "release > bake", "release > verify", "release > publish"}
    assert set(dag["tasks"]) == {*chain, "report"}
    assert [name for name, task in dag["tasks"].items() if task["teardown"]] == ["report"]
    assert set(dag["edges"]) == along | handed_on
    assert [name for name, task in dag["tasks"].items() if task["mapped"]] == ["ingest"]


def test_a_dag_says_when_it_runs_and_what_to_do_when_it_fails(found: dict[str, Any]) -> None:
    dag = found["dags"]["night_shop_007"]
    assert dag["schedule"] == ["30 1 * * *", "Europe/Berlin"]
    assert (dag["catchup"], dag["runs"]) == (False, 1)
    assert [part for part in ("What", "Data flow", "When it fails", "Owner") if f"**{part}.**" not in dag["doc"]] == []
    assert dag["tags"] == ["customer", "night", "silver"]
    assert dag["timetable"] == "CronDataIntervalTimetable", "a cron string would give intervals without a length"
    assert {task["owner"] for task in dag["tasks"].values()} == {"night-shift"}
    assert [name for name, task in dag["tasks"].items() if not task["doc"]] == []


def test_the_form_offers_this_customers_sources_only(found: dict[str, Any]) -> None:
    sources, schema = found["dags"]["night_shop_007"]["params"]["sources"]
    assert sources == ["sales", "products", "guides", "pages", "notes"]
    assert schema["items"] == {"type": "string", "enum": sources}
    params = found["dags"]["night_shop_007"]["params"]
    assert {name: value for name, (value, _) in params.items() if name != "sources"} == {
        "full_refresh": False,
        "bake": True,
        "publish": False,
        "epoch": None,
    }
    assert [name for name, (_, schema) in params.items() if not schema.get("title") or "type" not in schema] == []


def test_only_what_may_succeed_later_is_tried_again(found: dict[str, Any]) -> None:
    tasks = {name: task for name, task in found["dags"]["night_shop_007"]["tasks"].items() if name != "report"}
    for name, task in tasks.items():
        again = {error for error, action in task["retry"].items() if action == "retry"}
        assert again == {"CommitConflict", "Unavailable", "FileChanging"}, name
        assert {action for error, action in task["retry"].items() if error not in again} == {"fail"}
        assert task["retry_other"] == "fail"
        assert task["retries"] > 0
        assert task["timeout"] == timedelta(hours=6).total_seconds()


def test_scarce_things_have_pools_and_customers_a_rank(found: dict[str, Any]) -> None:
    tasks = {number: found["dags"][f"night_shop_{number:03d}"]["tasks"] for number in (6, 7, 8)}
    pools = {name: task["pool"] for name, task in tasks[7].items()}
    assert {name for name, pool in pools.items() if pool == "gpu"} == {"embed"}
    assert {name for name, pool in pools.items() if pool == "bake"} == {"bake", "verify", "publish"}
    assert {name for name, pool in pools.items() if pool == "default_pool"} == {"preview", "report"}
    assert set(pools.values()) <= {*POOLS, "default_pool"}
    ranks = [{task["priority"] for task in tasks[number].values()} for number in (6, 7, 8)]
    assert ranks == [{100}, {10}, {1}]
    assert {task["rule"] for task in tasks[7].values()} == {"absolute"}


def test_the_release_makes_its_tables_and_verify_the_image(found: dict[str, Any]) -> None:
    tasks = found["dags"]["night_shop_007"]["tasks"]
    made = {name: task["assets"] for name, task in tasks.items() if task["assets"]}
    assert made["verify"] == ["shop_007.image"]
    assert {"shop_007.release", "shop_007.marts.orders", "shop_007.marts.products_chunks"} <= set(made["release"])
    assert set(made) == {"release", "verify"}


def test_parsing_imports_nothing_heavy(found: dict[str, Any]) -> None:
    loaded = {name.split(".")[0] for name in found["modules"]}
    assert "airflow" in loaded
    assert loaded & set(HEAVY) == set()


def test_each_file_reads_each_customer_once_and_asks_no_network(found: dict[str, Any], folder: Path) -> None:
    assert sorted(found["opened"]) == sorted(2 * [str(path) for path in folder.glob("*.yaml")])
    assert found["connected"] == []


def test_a_task_parses_its_own_customer_only(folder: Path, tmp_path: Path) -> None:
    one = probe(folder, tmp_path, "night_shop_003")
    assert list(one["dags"]) == ["night_shop_003"]
    assert one["opened"] == [str(folder / "shop_003.yaml")]


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.name)
def test_dag_files_are_short_and_not_named_like_dbt_plugins(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert not path.name.startswith("dbt_")
