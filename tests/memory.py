"""The memory that a command and all processes below it take, looked at while it runs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import tree
from cradle.config import PROJECT, Settings, clean_environment


def peak_of(code: str, settings: Settings, *arguments: str) -> int:
    """Run Python code with these settings in a process of its own; return the most bytes that it and its children held.

    Pages that processes share are counted once (PSS).
    """
    names = ("home", "customers", "threads", "memory_mb", "parse_memory_mb", "parse_seconds")
    told = {f"CRADLE_{name.upper()}": str(getattr(settings, name)) for name in names}
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=PROJECT,
        env={**clean_environment(), **told, "PYTHONPATH": str(PROJECT), "CRADLE_ENVIRONMENT": "dev_analytics"},
    )
    peak = 0
    while child.poll() is None:
        peak = max(peak, sum(_held(pid) for pid in tree(child.pid)))
        time.sleep(0.02)
    assert child.returncode == 0
    return peak


def _held(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
