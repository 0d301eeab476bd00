"""A base, two customers with verified images on it, and the engine they were started in; made once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from cradle.bake.base import BaseResult, build_base
from cradle.bake.engine import Engine, find_engine
from cradle.config import PROJECT, Settings
from cradle.delivery.bundle import Package, package
from cradle.delivery.publish import publish
from cradle.examples import generate
from tests.conftest import NO_ENGINE
from tests.nights import night

RIVAL = "rival"


@dataclass(frozen=True)
class Factory:
    """Settings of a home with a base and two customers, `demo` and `rival`."""

    settings: Settings
    base: BaseResult


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The container engine of this machine."""
    found = find_engine()
    if found is None:
        pytest.skip(NO_ENGINE)
    return found


@pytest.fixture(scope="session")
def factory(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """Both customers' nights, up to verified containers; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("factory")
    shutil.copytree(PROJECT / "data" / "customers", folder / "customers")
    settings = Settings(home=folder / "home", customers=folder / "customers")
    base = build_base(settings)
    generate("demo", settings.inbox("demo"))
    night(settings, "demo")
    _make_rival(settings)
    night(settings, RIVAL)
    return Factory(settings, base)


@pytest.fixture(scope="session")
def recipient() -> str:
    """A customer's age key."""
    return str(pyrage.x25519.Identity.generate().to_public())


@pytest.fixture(scope="session")
def packages(factory: Factory, recipient: str) -> dict[str, Package]:
    """A delivery package of each customer's first version."""
    made = {}
    for customer in ("demo", RIVAL):
        publish(factory.settings, customer)
        made[customer] = package(factory.settings, customer, recipient=recipient)
    return made


def _make_rival(settings: Settings) -> None:
    """The demo's shop under another name: the same shape of data, and not one key in common."""
    text = (settings.customers / "demo.yaml").read_text(encoding="utf-8")
    text = text.replace("customer: demo", f"customer: {RIVAL}").replace("DEMO-", "RIVAL-").replace("9320", "9340")
    (settings.customers / f"{RIVAL}.yaml").write_text(text, encoding="utf-8")
    for path in settings.inbox("demo").rglob("*"):
        if path.is_file():
            target = settings.inbox(RIVAL) / path.relative_to(settings.inbox("demo"))
            target.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_text(encoding="utf-8")
            for own, others in (("DEMO-", "RIVAL-"), ("ORD-", "RVL-"), ("CUST-", "CLNT-")):
                data = data.replace(own, others)
            target.write_text(data, encoding="utf-8")


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a text file."""
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
