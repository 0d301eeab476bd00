"""Runs the variants of a stage by turns, each run in a process of its own, and keeps what every run took.

Memory is that of the process and all below it, looked at every 20 ms: what they hold of their own and share with each
other, without files that are only mapped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.stage import Facts, Stage, Unequal, Variant
from cradle.config import PROJECT

EVERY = 0.02  # seconds between two looks at the memory
CHILD = ["-m", "benchmarks.child"]
Told = Callable[[str], object]
Run = dict[str, Any]


def measure(stage: Stage, amount: int, rounds: int, inputs: Path, tell: Told) -> list[Run]:
    """Prepare the inputs unless they are there, then run every variant once per round, beginning with another each.

    A variant whose program is not installed is left out.

    Raises:
        Unequal: a variant failed, or the results of a round differ.
    """
    ready = inputs / f"{stage.name}-{amount}"
    if not (ready / ".ready").is_file():
        tell(f"{stage.name}: preparing {amount:,} {stage.unit}")
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir(parents=True)
        stage.prepare(ready, amount)
        (ready / ".ready").touch()
    variants = [one for one in stage.variants if one.needs is None or shutil.which(one.needs)]
    runs: list[Run] = []
    for number in range(rounds):
        start = number % len(variants)
        found: dict[str, Facts] = {}
        for variant in (*variants[start:], *variants[:start]):
            one = run_once(stage, variant, ready)
            found[variant.name] = one.pop("facts")
            runs.append({"round": number, "amount": amount, "variant": variant.name, **one})
            tell(f"{stage.name} {number + 1}/{rounds} {variant.name}: {one['seconds']:.2f} s, {one['peak_mb']:,.0f} MB")
        stage.check(found)
    return runs


def run_once(stage: Stage, variant: Variant, inputs: Path) -> Run:
    """Run one variant in a process of its own over an empty folder.

    Raises:
        Unequal: it failed.
    """
    with tempfile.TemporaryDirectory(prefix=f"bench-{stage.name}-", ignore_cleanup_errors=True) as scratch:
        log = Path(scratch) / "errors.log"
        work = Path(scratch) / "work"
        work.mkdir()
        command = [sys.executable, *CHILD, stage.name, variant.name, str(inputs), str(work)]
        before = os.times()
        with log.open("wb") as errors:
            child = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=errors, text=True)
            watch = _Watch(child.pid)
            assert child.stdout is not None
            last = ""
            for line in child.stdout:
                if line == "begin\n":
                    watch.start()
                last = line if line.strip() else last
            code = child.wait()
            watch.stop()
        if code:
            raise Unequal(f"{stage.name}, {variant.name} failed: {log.read_text(errors='replace')[-2000:]}")
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return {**json.loads(last), "cpu_seconds": cpu, "peak_mb": watch.peak / 2**20}


class _Watch:
    """Looks at the memory of a process and all below it until told to stop."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(EVERY):
            self.peak = max(self.peak, sum(_resident(pid) for pid in tree(self._pid)))


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            below = (thread / "children").read_text(encoding="ascii").split()
        except OSError:
            continue
        for one in below:
            yield from tree(int(one))


def _resident(pid: int) -> int:
    """Return the bytes that a process holds, mapped files left out."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    held = [line.split()[1] for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
    return sum(int(one) for one in held) * 1024
