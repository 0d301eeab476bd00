"""A build per model, as Airflow runs it: `python -m tests.model_nights` in a process with an Airflow of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cradle.config import PROJECT, Settings

RESULT = "result.json"
DAG = """
import sys

from airflow.sdk import DAG

sys.path.insert(0, {dags!r})
from model_tasks import dbt_tasks
from night_form import form

from cradle.config import settings
from cradle.customers import load_customer

for name in {customers!r}:
    customer = load_customer(settings().customers, name)
    with DAG("build_" + name, schedule=None) as dag:
        dbt_tasks(customer)
    dag.params.update(form(customer.operation, []))
    globals()[dag.dag_id] = dag
"""


def dag_file(*customers: str) -> str:
    """Return a DAG file in which each customer's group stands alone."""
    return DAG.format(dags=str(PROJECT / "dags"), customers=customers)


def build_by_model(settings: Settings, customer: str, day: date, folder: Path) -> dict[str, Any]:
    """Run a DAG of the group alone; return its state, its tasks, what failed, what was published."""
    folder.mkdir(exist_ok=True)
    (folder / "build.py").write_text(dag_file(customer), encoding="utf-8")
    request = {"customer": customer, "day": str(day), "folder": str(folder)}
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "CRADLE_HOME": str(settings.home),
        "CRADLE_CUSTOMERS": str(settings.customers),
        "CRADLE_ENVIRONMENT": settings.environment,
    }
    command = [sys.executable, "-m", "tests.model_nights", json.dumps(request)]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    (folder / "log.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return found


def _main(request: dict[str, str]) -> None:
    from types import SimpleNamespace

    from cradle import outcomes
    from cradle.airflow_environment import set_airflow_environment
    from cradle.cli.airflow import database_ready
    from cradle.config import settings

    settings().airflow().mkdir(parents=True, exist_ok=True)
    set_airflow_environment(settings())
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = request["folder"]
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.listeners import hookimpl
    from airflow.sdk.listener import get_listener_manager
    from airflow.utils.db import initdb

    if not database_ready(settings()):
        initdb()
    folder = Path(request["folder"])
    dag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder").get_dag(f"build_{request['customer']}")
    failed: dict[str, list[str]] = {}

    def failure(task_instance: Any, error: Any) -> None:
        failed[task_instance.task_id] = [type(error).__name__, str(error)]

    get_listener_manager().add_listener(SimpleNamespace(on_task_instance_failed=hookimpl(failure)))
    day = date.fromisoformat(request["day"])
    run = dag.test(logical_date=datetime.combine(day, datetime.now(UTC).timetz()))
    tasks = {one.task_id: {"state": str(one.state), "tries": one.try_number} for one in run.get_task_instances()}
    last = outcomes.last(settings(), request["customer"], day).get("build", {})
    content = {"state": str(run.state), "tasks": tasks, "failed": failed, "published": last.get("outputs", {})}
    (folder / RESULT).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
