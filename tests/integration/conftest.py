"""A demo lake with a verified image, made once for all tests that only look at it, and the image itself, served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cradle.bake.unpack import images, unpack
from cradle.config import PROJECT, Settings
from cradle.examples import generate
from cradle.serve.app import create_app
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


@pytest.fixture(scope="session")
def root(demo: Settings) -> Path:
    """Folder of the demo's unpacked image."""
    (digest,) = images(demo.images("demo") / "layout").values()
    return unpack(demo, "demo", digest)


@pytest.fixture(scope="module")
def api(root: Path) -> Iterator[TestClient]:
    """The image served to anyone."""
    with TestClient(create_app(root), raise_server_exceptions=False) as client:
        yield client
