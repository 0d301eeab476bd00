"""Many customers' nights at once, and what they cost: `python -m benchmarks.many_nights 20`.

Prints how the runs ended, the peak of memory over all of Airflow's processes, and errors of SQLite or of file locks.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.airflows import Api, airflow_of
from tests.e2e.shops import make_shops

WRONG = ("database is locked", "could not set lock", "blockingioerror", "objectdeletederror")


def memory(api: Api) -> int:
    """Return the bytes that all processes hold, each shared page counted once (proportional set size)."""
    total = 0
    for pid in api.processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    total += one.memory_full_info().pss
    return total


def night_of(api: Api, shop: str) -> str:
    """Return the run that the scheduler made when the DAG was switched on."""
    path = f"/api/v2/dags/night_{shop}/dagRuns"
    return str(api.until(path, lambda answer: answer["dag_runs"])["dag_runs"][0]["dag_run_id"])


def run(count: int) -> dict[str, Any]:
    """Switch all customers on at once, wait for their nights, and return the figures."""
    shops = [f"shop_{number:02d}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="cradle-fleet-", ignore_cleanup_errors=True) as name:
        settings = make_shops(Path(name), shops)
        with airflow_of(settings) as api:
            api.until(f"/api/v2/dags/night_{shops[-1]}", lambda answer: "dag_id" in answer)
            api("PATCH", "/api/v2/dags?dag_id_pattern=night_%25&limit=100", {"is_paused": False})
            began, peak, stop = time.monotonic(), [0], threading.Event()

            def watch() -> None:
                while not stop.wait(1):
                    peak[0] = max(peak[0], memory(api))

            watching = threading.Thread(target=watch)
            watching.start()
            first = [night_of(api, shop) for shop in shops]
            states = [api.ended(f"night_{shop}", run)["state"] for shop, run in zip(shops, first, strict=True)]
            seconds = time.monotonic() - began
            stop.set()
            watching.join()
            tasks = api.tasks(f"night_{shops[0]}", first[0])
        said = [path.read_text(errors="replace").lower() for path in settings.airflow().rglob("*.log")]
    work = sum(one["duration"] or 0 for one in tasks)
    return {
        "nights": {one: states.count(one) for one in sorted(set(states))},
        "seconds": round(seconds),
        "peak_mb": round(peak[0] / 1e6),
        "errors": {word: sum(text.count(word) for text in said) for word in WRONG},
        "median_task_seconds": round(statistics.median(one["duration"] or 0 for one in tasks), 2),
        "task_seconds_of_a_night": round(work, 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1])), indent=1) + "\n")
