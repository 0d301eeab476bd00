"""What Airflow costs beside the verbs: `python -m benchmarks.orchestration lightnet --rows 2000`.

Runs one night through the real scheduler. Orchestration is the run's wall time less the seconds of its verbs, as their
outcomes say; a hop is the time from the end of the last task before to the begin of the next.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from cradle import outcomes
from cradle.airflow_environment import airflow_environment
from cradle.config import PROJECT, Settings
from cradle.customers import load_customer, night_date
from tests.e2e.airflows import airflow_of


def measure(settings: Settings, customer: str) -> dict[str, Any]:
    """Run a night and return its figures, in seconds."""
    dag = f"night_{customer}"
    with airflow_of(settings) as api:
        api.known([dag])
        run_id = api.until(f"/api/v2/dags/{dag}/dagRuns", lambda answer: answer["dag_runs"])["dag_runs"][0][
            "dag_run_id"
        ]
        run = api.ended(dag, run_id)
        tasks = [one for one in api.tasks(dag, run_id) if one["start_date"]]
    day = night_date(load_customer(settings.customers, customer), moment(run["logical_date"]), moment(run["run_after"]))
    verbs = [one["seconds"] for one in outcomes.of_run(settings, customer, day, run_id)]
    wall = (moment(run["end_date"]) - moment(run["start_date"])).total_seconds()
    spans = sorted((moment(one["start_date"]), moment(one["end_date"])) for one in tasks)
    hops, last = [], spans[0][1]
    for begin, end in spans[1:]:
        hops.append(max(0.0, (begin - last).total_seconds()))
        last = max(last, end)
    return {
        "state": run["state"],
        "wall": round(wall, 1),
        "verbs": round(sum(verbs), 1),
        "orchestration_share": round(1 - sum(verbs) / wall, 3),
        "tasks": len(tasks),
        "median_hop": round(statistics.median(hops), 2),
        "task_seconds": {one["task_id"]: round(one["duration"], 1) for one in tasks},
    }


def moment(text: str) -> datetime:
    """Read a time stamp of Airflow."""
    return datetime.fromisoformat(text)


def main() -> None:
    """Generate a customer's data in an empty home, measure, print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("customer")
    asked.add_argument("--rows", type=int)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="cradle-bench-") as name:
        settings = Settings(home=Path(name), environment="dev_analytics")
        command = [sys.executable, "-c", "from cradle.cli import run; run()", "generate", given.customer]
        command += ["--rows", str(given.rows)] if given.rows else []
        subprocess.run(command, cwd=PROJECT, env=airflow_environment(settings), check=True, stdout=subprocess.DEVNULL)
        sys.stdout.write(json.dumps(measure(settings, given.customer), indent=1) + "\n")


if __name__ == "__main__":
    main()
