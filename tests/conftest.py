"""Shared by all tests: settings over an empty home, example customers, and what a skip must say on CI."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cradle.config import PROJECT, Settings, quieten
from tests.stacks import BACKENDS, Stack, missing

quieten()
os.environ["CRADLE_ENVIRONMENT"] = "dev_analytics"  # whatever branch is checked out
CORPUS = PROJECT.parent / "shared" / "corpus"
# Tests that may be skipped on CI, by the reason they give.
NO_SERVERS = "these servers can't be had from the package registries"
NO_ENGINE = "no container engine answers on this machine"
NO_REGISTRY = "no docker-registry on this machine: apt-get install docker-registry"
MAY_SKIP = ("the shared corpus is not beside the project", NO_SERVERS, NO_ENGINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the same tests run over other servers."""
    parser.addoption("--backend", choices=BACKENDS, default="embedded", help="what the behaviour is tested over")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Over servers, run the tests whose result may depend on them: those marked `behaviour` or `services`."""
    backend = config.getoption("--backend")
    wanted = {"s3": ("behaviour", "servers"), "services": ("behaviour", "servers", "services")}.get(backend, ())

    def keep(item: pytest.Item) -> bool:
        if not wanted:
            return not any(item.get_closest_marker(name) for name in ("servers", "services"))
        return any(item.get_closest_marker(name) for name in wanted)

    dropped = [item for item in items if not keep(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if keep(item)]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The servers that this run of the tests is over; none when embedded."""
    backend = request.config.getoption("--backend")
    lacking = missing(backend)
    if lacking:
        pytest.skip(f"{NO_SERVERS}: {lacking}" if backend == "services" else lacking)
    # Not below pytest's own folder: that is closed to PostgreSQL's user whenever pytest starts.
    with tempfile.TemporaryDirectory(prefix="cradle-stack-", ignore_cleanup_errors=True) as folder:
        made = Stack(backend, Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture
def settings(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings over an empty home with a copy of the example customers, which are provisioned when first opened."""
    shutil.copytree(PROJECT / "data" / "customers", tmp_path / "customers")
    found = stack.settings(tmp_path / "home", tmp_path / "customers")
    opened = stack.provision_when_opened(monkeypatch)
    yield found
    for customer in opened:
        stack.forget(found, customer)


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
