"""A demo night in a home of its own, a real browser, and the servers a page needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cradle.config import Settings

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FIRST_DAY = "2024-03-30"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-screenshots", action="store_true", help="write the screenshots of docs/images anew")


@dataclass(frozen=True)
class Home:
    """A home with the demo customer; commands run in a process of their own, as a user's do."""

    settings: Settings

    @property
    def sales(self) -> Path:
        return self.settings.inbox("demo") / "sales" / "sales.csv"

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = subprocess.run(**self._process(arguments), timeout=300, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that runs until it is told to stop."""
        return subprocess.Popen(**self._process(arguments))

    def _process(self, arguments: tuple[str, ...]) -> dict[str, Any]:
        home = str(self.settings.home)
        own = {"HOME": home, "CRADLE_HOME": home, "CRADLE_ENVIRONMENT": self.settings.environment}
        own["CRADLE_CUSTOMERS"] = str(self.settings.customers)
        return {
            "args": [sys.executable, "-u", "-c", "from cradle.cli import run; run()", *arguments],
            "env": {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **own},
            "cwd": ROOT,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }

    def night(self, day: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.run("night", "demo", "--date", day, "--json").stdout)
        return made


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after the demo's first night."""
    folder = tmp_path_factory.mktemp("home")
    made = Home(Settings(home=folder, customers=folder / "customers"))
    shutil.copytree(ROOT / "data" / "customers", made.settings.customers)
    yaml = made.settings.customers / "demo.yaml"  # by layer: a task per model takes a minute longer
    yaml.write_text(yaml.read_text(encoding="utf-8").replace("dbt_tasks: model", "dbt_tasks: layer"), encoding="utf-8")
    made.run("generate", "demo")
    made.night(FIRST_DAY)
    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Any:
    """Save what a page shows for the docs, when it was asked for."""

    def save(page: Any, name: str) -> None:
        if request.config.getoption("--update-screenshots", default=False):
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / f"{name}.png")

    return save
