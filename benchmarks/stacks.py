"""How long a night takes on the servers, beside the same night embedded: alternating, in one run.

Run:  python -m benchmarks.stacks demo --runs 3
      python -m benchmarks.stacks lightnet --rows 2000 --runs 1
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cradle import releases
from cradle.catalog import open_lake
from cradle.config import PROJECT, Settings, quieten
from cradle.examples import generate
from cradle.log import set_up
from tests.nights import contents, layers, night
from tests.stacks import Stack, missing


def one_night(stack: Stack, settings: Settings, customer: str, rows: int | None) -> tuple[float, dict[str, object]]:
    """Run a customer's first night from nothing; return its seconds and what it gave."""
    stack.provision(settings, customer)
    generate(customer, settings.inbox(customer), rows=rows)
    clock = time.monotonic()
    night(settings, customer)
    seconds = time.monotonic() - clock
    lake = open_lake(settings, customer)
    release = releases.find(lake)
    return seconds, {
        "content_digest": release.content_digest,
        "tables": contents(lake),
        "layers": layers(settings, customer),
    }


def measure(customer: str, rows: int | None, runs: int, backends: list[str]) -> dict[str, object]:
    """Alternate between the backends; return medians, their ratio to embedded, and whether the results are equal."""
    folder = Path(tempfile.mkdtemp(prefix="cradle-bench-"))
    stacks = {name: Stack(name, folder / name) for name in backends}
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    results = []
    try:
        for stack in stacks.values():
            stack.start()
        for number in range(runs):
            for name, stack in stacks.items():
                settings = stack.settings(folder / f"{name}-{number}", PROJECT / "data" / "customers")
                taken, result = one_night(stack, settings, customer, rows)
                seconds[name].append(round(taken, 2))
                results.append(result)
                stack.forget(settings, customer)
                sys.stderr.write(f"run {number + 1} of {runs}, {name}: {taken:.1f} s\n")
    finally:
        for stack in stacks.values():
            stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    medians = {name: statistics.median(all_runs) for name, all_runs in seconds.items()}
    return {
        "customer": customer,
        "rows": rows,
        "seconds": seconds,
        "ratio_to_embedded": {name: round(one / medians["embedded"], 2) for name, one in medians.items()},
        "equal": all(result == results[0] for result in results),
        "content_digest": results[0]["content_digest"],
    }


if __name__ == "__main__":
    quieten()
    set_up("ERROR")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("customer")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["embedded", "s3", "services"])
    asked = parser.parse_args()
    here = [name for name in asked.backends if missing(name) is None]
    sys.stdout.write(json.dumps(measure(asked.customer, asked.rows, asked.runs, here), indent=1) + "\n")
