"""Shared by all tests: settings over an empty home, example customers, and what a skip must say on CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cradle.config import PROJECT, Settings, quieten

quieten()
CORPUS = PROJECT.parent / "shared" / "corpus"
# Tests that may be skipped on CI, by the reason they give.
MAY_SKIP = ("the shared corpus is not beside the project",)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings over an empty home, with a copy of the example customers."""
    shutil.copytree(PROJECT / "data" / "customers", tmp_path / "customers")
    return Settings(home=tmp_path / "home", customers=tmp_path / "customers")


@pytest.fixture
def corpus() -> Path:
    """Folder of real files that nobody here wrote."""
    if not CORPUS.is_dir():
        pytest.skip(MAY_SKIP[0])
    return CORPUS


@pytest.fixture
def write_customer(settings: Settings) -> Callable[[str, str], Path]:
    """Return a function that writes a customer's YAML."""

    def write(name: str, text: str) -> Path:
        path = settings.customers / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """On CI a skipped test is a failure, unless its reason is on the list."""
    report = yield
    if report.skipped and os.environ.get("CI") and not any(reason in str(report.longrepr) for reason in MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped on CI: {report.longrepr}"
    return report


def pytest_report_header() -> str:
    """Name the versions that decide results."""
    from importlib import metadata

    names = ("apache-airflow", "dlt", "dbt-duckdb", "duckdb", "pyiceberg", "chromadb", "torch")
    return "versions: " + ", ".join(f"{name} {metadata.version(name)}" for name in names)
