"""A demo lake with a verified image, made once for all tests that only look at it."""

from __future__ import annotations

import shutil

import pytest

from cradle.config import PROJECT, Settings
from cradle.examples import generate
from tests.nights import night


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home in which the demo's night has run; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(PROJECT / "data" / "customers", folder / "customers")
    settings = Settings(home=folder / "home", customers=folder / "customers")
    generate("demo", settings.inbox("demo"))
    night(settings, "demo")
    return settings
