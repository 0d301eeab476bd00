"""Every benchmark runs, at the size of a smoke test, and its ways give the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.stages import all_stages
from cradle.config import PROJECT

pytestmark = pytest.mark.integration
QUICK = ("ingest", "index")  # the others make whole nights first, or load a model five times


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[] if one in QUICK else pytest.mark.long) for one in all_stages()]
)
def test_a_stage_is_measured_beside_its_peers(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--size", "smoke", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kept = json.loads((tmp_path / f"{name}.smoke.json").read_text(encoding="utf-8"))
    stage = all_stages()[name]
    assert [run["variant"] for run in kept["runs"]] == [one.name for one in stage.variants]
    assert all(run["seconds"] > 0 and run["peak_mb"] > 0 for run in kept["runs"])
    assert len({one.name for one in stage.variants}) == len(stage.variants) > 1
    assert all(goal.peer is None or goal.peer in {one.name for one in stage.variants} for goal in stage.goals)
