"""The dashboards on the servers: they read with the analyst's secret and have no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cradle.config import PROJECT, Settings
from cradle.examples import generate
from cradle.services.provision import hand_out
from tests.nights import night

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
CODE = (
    "import json, sys; from streamlit_apps.released import verified; "
    "print(json.dumps([[one.release_id, one.current] for one in verified('demo')]), file=sys.stderr)"
)


def ask(settings: Settings, secrets: Path) -> subprocess.CompletedProcess[str]:
    """Ask what the sidebar asks, in a process that sees one folder of secrets only."""
    changed = settings.model_copy(update={"secrets": secrets, "database": None})
    environment = {f"CRADLE_{name.upper()}": str(value) for name, value in changed.model_dump().items() if value}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-c", CODE], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_the_sidebar_reads_prod_as_the_analyst_and_as_nobody_else(two: Settings, tmp_path: Path) -> None:
    prod = two.model_copy(update={"environment": "prod_analytics"})
    generate("demo", prod.inbox("demo"), rows=50)
    night(prod, "demo")
    hand_out(two, "analyst", tmp_path / "dashboards")
    hand_out(two, "pipeline", tmp_path / "workers")
    done = ask(prod, tmp_path / "dashboards")
    (release,) = json.loads(done.stderr.splitlines()[-1])
    assert release[1] is True
    done = ask(prod, tmp_path / "workers")  # the pipeline's secret is there, and is not taken
    assert done.returncode != 0
    assert "secret analyst of demo can't be read" in done.stderr
