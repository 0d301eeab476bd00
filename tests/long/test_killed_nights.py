"""Whole nights killed at every named point, and at random moments: in the end the lake equals a clean one."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

from cradle import releases
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.examples import generate
from tests.nights import child, contents, killed_at, layers, night

pytestmark = pytest.mark.long
ROWS = 20
RANDOM_KILLS = 20


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which one undisturbed night has run."""
    from cradle.config import PROJECT

    settings = Settings(home=tmp_path_factory.mktemp("clean"), customers=PROJECT / "data" / "customers")
    generate("demo", settings.inbox("demo"), rows=ROWS)
    night(settings, "demo")
    return settings


def assert_equal(settings: Settings, clean: Settings) -> None:
    assert contents(open_lake(settings, "demo")) == contents(open_lake(clean, "demo"))
    one, two = (releases.current(open_lake(found, "demo")) for found in (settings, clean))
    assert one is not None
    assert two is not None
    assert one.release_id == two.release_id
    assert layers(settings, "demo") == layers(clean, "demo")


@pytest.mark.timeout(2700)
def test_a_night_killed_at_every_point_ends_as_a_clean_one(settings: Settings, clean: Settings) -> None:
    """Each run dies at the first point that no run before it has reached, before or after a commit or rename."""
    generate("demo", settings.inbox("demo"), rows=ROWS)
    survived: list[str] = []
    while True:
        one = child(settings, "demo", upto="verify", survived=survived)
        out, errors = one.communicate(timeout=600)
        if one.returncode == 0:
            break
        assert one.returncode == -signal.SIGKILL, errors.decode()[-2000:]
        assert killed_at(out) not in survived
        survived.append(killed_at(out))
    print(f"{len(survived)} kills: {', '.join(survived)}")  # noqa: T201
    landed = {name for name in survived if name.endswith(".after")}
    for table in ("raw.sales", "marts.orders", "marts.general_chunks", "vectors.embeddings", "ops.releases"):
        assert f"commit.{table}.after" in landed
    assert {"original.after", "collection.after", "blob.after", "index.after"} <= landed
    assert_equal(settings, clean)


@pytest.mark.timeout(2700)
def test_a_night_killed_at_random_moments_ends_as_a_clean_one(settings: Settings, clean: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=ROWS)
    seed = random.randrange(1_000_000)
    draw = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201
    kills = 0
    for _ in range(RANDOM_KILLS):
        one = child(settings, "demo", upto="verify")
        try:
            one.communicate(timeout=draw.uniform(1.5, 10.0))
        except subprocess.TimeoutExpired:
            os.killpg(one.pid, signal.SIGKILL)
            one.communicate()
            kills += 1
    one = child(settings, "demo", upto="verify")
    _, errors = one.communicate(timeout=600)
    assert one.returncode == 0, errors.decode()[-2000:]
    assert kills >= RANDOM_KILLS // 4
    assert_equal(settings, clean)


def test_what_a_killed_night_left_is_no_half_file(settings: Settings) -> None:
    """A folder of collections or roots is there whole, or not at all."""
    generate("demo", settings.inbox("demo"), rows=ROWS)
    one = child(settings, "demo", upto="verify", survived=[])
    one.communicate(timeout=600)
    assert one.returncode == -signal.SIGKILL
    night(settings, "demo")
    folders = [*(settings.files("demo") / "collections").iterdir(), *(settings.images("demo") / "roots").iterdir()]
    assert all(len(folder.name) == 64 for folder in folders if not folder.name.startswith("."))
