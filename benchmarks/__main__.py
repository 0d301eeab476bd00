"""Measures stages beside their peers: python -m benchmarks [STAGE …] --size reduced --rounds 5.

Raw results go to benchmarks/results as JSON, and the tables made of them into docs/performance.md and the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.machine import machine
from benchmarks.measure import Run, measure
from benchmarks.stage import SIZES, Stage, nothing
from benchmarks.stages import all_stages
from cradle.config import PROJECT, quieten
from cradle.log import set_up

LARGER = (1, 4, 16)


def main() -> None:
    """Measure what was asked for; write results, then the tables."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    asked.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(all_stages()) + "; none: all")
    asked.add_argument("--size", choices=SIZES, default="reduced", help="how much work")
    asked.add_argument("--rounds", type=int, default=5, help="how often each way runs")
    asked.add_argument("--growth", action="store_true", help="measure ours at 1, 4 and 16 times the amount instead")
    asked.add_argument("--inputs", type=Path, help="folder in which inputs are kept for the next time; none: nowhere")
    asked.add_argument("--results", type=Path, default=table.RESULTS, help="folder of the raw results")
    given = asked.parse_args()
    quieten()
    set_up("ERROR")  # what prepares the inputs would say what it does
    known = all_stages()
    unknown = sorted(set(given.stages) - known.keys())
    if unknown:
        asked.error(f"no stage {', '.join(unknown)}; known: {', '.join(known)}")
    for name in given.stages or known:
        if (known[name].growth is None) if given.growth else (given.size not in known[name].sizes):
            _tell(f"{name}: not measured at this size")
            continue
        with tempfile.TemporaryDirectory(prefix="bench-inputs-") as scratch:
            result = _measure(known[name], given, given.inputs or Path(scratch))
        given.results.mkdir(parents=True, exist_ok=True)
        target = given.results / f"{name}.{result['size']}.json"
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        _tell(f"{name}: raw results in {_shown(target)}")
    if given.results == table.RESULTS:
        table.main()
        _tell(f"tables: {_shown(table.PAGE)}, {_shown(table.README)}")


def _measure(stage: Stage, given: argparse.Namespace, inputs: Path) -> dict[str, Any]:
    found, runs = machine(), list[Run]()
    size = "growth" if given.growth else given.size
    if given.growth:
        alone = dataclasses.replace(stage, variants=stage.variants[:1], check=nothing)
        assert stage.growth is not None
        for times in LARGER:
            runs += measure(alone, stage.growth * times, given.rounds, inputs, _tell)
    else:
        runs = measure(stage, stage.sizes[size], given.rounds, inputs, _tell)
    day = datetime.now(UTC).date().isoformat()
    return {
        "stage": stage.name,
        "size": size,
        "amount": stage.growth if given.growth else stage.sizes[size],
        "unit": stage.unit,
        "day": day,
        "machine": found,
        "runs": runs,
    }


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


if __name__ == "__main__":
    main()
