"""Collection builds killed at random moments: builder, its child, or both."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cradle.config import Settings
from cradle.vectors.collection import build_collection
from tests.integration.test_vectors import builder, hidden, some_rows, whole_or_absent

pytestmark = pytest.mark.long
KILLS = 20


def child_of(pid: int) -> int:
    """Return the process that a builder has started; the builder itself when there is none."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[0]) if found else pid


def forget(settings: Settings) -> None:
    """Remove the collection that was published, and only that."""
    for folder in (settings.files("demo") / "collections").iterdir():
        if not folder.name.startswith("."):
            shutil.rmtree(folder)


@pytest.mark.timeout(1500)
def test_a_build_killed_at_random_moments_leaves_all_or_nothing(settings: Settings) -> None:
    seed = random.randrange(1_000_000)
    draw = random.Random(seed)
    kills = finished = 0
    begun = time.monotonic()
    builder(settings).communicate()
    whole = time.monotonic() - begun
    for _ in range(KILLS):
        forget(settings)  # else the next build finds the collection and has nothing to do
        one = builder(settings)
        try:
            one.communicate(timeout=draw.uniform(0.1, 1.2 * whole))
            finished += 1
        except subprocess.TimeoutExpired:
            who = draw.choice(("group", "builder", "child"))
            if who == "group":
                os.killpg(one.pid, signal.SIGKILL)
            else:
                os.kill(one.pid if who == "builder" else child_of(one.pid), signal.SIGKILL)
            one.communicate()
            kills += 1
        whole_or_absent(settings)
    print(f"seed {seed}: {kills} killed, {finished} finished")  # noqa: T201
    assert kills >= KILLS // 4
    build_collection(settings, "demo", some_rows(), "model")
    assert whole_or_absent(settings)
    assert hidden(settings) == []
