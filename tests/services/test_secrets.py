"""No secret's value anywhere but in its file: searched for in all that a night on the servers leaves behind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cradle.config import PROJECT, Settings
from cradle.examples import generate
from tests.stacks import Stack

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
PUBLIC = {"operator", "cradle", "root"}  # names, not secrets


def secret_values(folder: Path) -> set[bytes]:
    """Return every value in the files of secrets but names."""
    found = set()
    for path in folder.rglob("*.json"):
        found |= {value for key, value in json.loads(path.read_text()).items() if key not in ("user", "access_key")}
    return {value.encode() for value in found - PUBLIC}


def contents_of(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def holding(folder: Path, values: set[bytes]) -> list[str]:
    """Return the files below a folder in which any of the values stands."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and any(value in contents_of(path) for value in values)
    ]


@pytest.fixture
def outside(stack: Stack, tmp_path: Path) -> Settings:
    """Settings whose secrets lie apart from everything that a night writes."""
    shutil.copytree(PROJECT / "data" / "customers", tmp_path / "customers")
    found = stack.settings(tmp_path / "home", tmp_path / "customers", secrets=tmp_path / "secrets")
    stack.provision(found, "demo")
    return found


def test_no_secret_in_what_a_night_leaves_behind(outside: Settings, stack: Stack) -> None:
    generate("demo", outside.inbox("demo"), rows=50)
    environment = {f"CRADLE_{name.upper()}": str(value) for name, value in outside.model_dump().items() if value}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "CRADLE_LOG_LEVEL": "DEBUG"}
    command = [sys.executable, "-c", "from cradle.cli import run; run()", "night", "demo", "--date", "2024-04-01"]
    try:
        done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        assert outside.secrets is not None
        values = secret_values(outside.secrets)
        assert len(values) > 8  # principals of each role and environment, identities, the operator's
        assert not [value for value in values if value in done.stdout + done.stderr]
        assert holding(outside.home, values) == []
        databases = list(outside.home.rglob("airflow.db"))  # variables, connections, XComs
        assert databases
        assert b"release_id" in databases[0].read_bytes()  # so that its XComs were looked at
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
        for name in tracked.decode().split("\0"):
            path = PROJECT / name
            assert not path.is_file() or not any(value in path.read_bytes() for value in values), name
    finally:
        stack.forget(outside, "demo")


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"token=hunter2hunter2")
    (tmp_path / "layer").write_bytes(gzip.compress(b"x hunter2hunter2 x"))
    (tmp_path / "b.log").write_bytes(b"nothing")
    assert holding(tmp_path, {b"hunter2hunter2"}) == ["a.log", "layer"]
