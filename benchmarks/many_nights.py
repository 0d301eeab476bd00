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

DAY = "2026-11-10"
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


def run(count: int) -> dict[str, Any]:
    """Run a fleet and return its figures."""
    shops = [f"shop_{number:02d}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="cradle-fleet-") as name:
        settings = make_shops(Path(name), shops)
        with airflow_of(settings) as api:
            api.known(["fleet", *(f"night_{shop}" for shop in shops)])
            began, peak, stop = time.monotonic(), [0], threading.Event()

            def watch() -> None:
                while not stop.wait(1):
                    peak[0] = max(peak[0], memory(api))

            watching = threading.Thread(target=watch)
            watching.start()
            fleet = api.trigger("fleet", conf={"date": DAY, "bake": False})
            state = api.ended("fleet", fleet)["state"]
            seconds = time.monotonic() - began
            stop.set()
            watching.join()
            nights = [next(iter(api.runs(f"night_{shop}").values()))["state"] for shop in shops]
            tasks = api.tasks("night_shop_00", f"fleet__{fleet}")
        said = [path.read_text(errors="replace").lower() for path in settings.airflow().rglob("*.log")]
    work = sum(one["duration"] or 0 for one in tasks)
    return {
        "fleet": state,
        "nights": {one: nights.count(one) for one in sorted(set(nights))},
        "seconds": round(seconds),
        "peak_mb": round(peak[0] / 1e6),
        "errors": {word: sum(text.count(word) for text in said) for word in WRONG},
        "median_task_seconds": round(statistics.median(one["duration"] or 0 for one in tasks), 2),
        "task_seconds_of_a_night": round(work, 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1])), indent=1) + "\n")
