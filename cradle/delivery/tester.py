"""Tries a delivery package as the customer's administrator will, and tells what was seen.

The legacy checklist, made executable: package whole, signature, load, start, health of every service, sample queries,
counts against the source, sign-in, isolation from a neighbour, restart, orderly stop.
Run:  cradle deploy-test data/local/packages/demo/demo-v1.0-init
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cradle.bake.engine import need_engine
from cradle.bake.verify import Check
from cradle.delivery.trial import Installed
from cradle.errors import CradleError
from cradle.log import get

log = get("deploy-test")


class DeployReport(BaseModel):
    """All that was tried of one package."""

    model_config = ConfigDict(frozen=True)

    package: str
    customer: str
    version: str
    passed: bool
    checks: tuple[Check, ...]
    seconds_to_ready: float


def deploy_test(package: Path, beside: Path | None = None) -> DeployReport:
    """Install a package in an empty folder beside another customer's, try it, take it away.

    Args:
        beside: another customer's package; none: isolation is not tried, and the report says so.

    Raises:
        Unavailable: no container engine answers, or a port is taken.
    """
    engine = need_engine()
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="cradle-deploy-") as name:
        mine = Installed(engine, package, Path(name) / "package")
        neighbour = Installed(engine, beside, Path(name) / "neighbour") if beside else None
        try:
            passed = all(_try(checks, *step) for step in _steps(mine, neighbour))
        finally:
            for one in filter(None, (mine, neighbour)):
                one.take_away()
    statement = mine.statement
    return DeployReport(
        package=package.name,
        customer=statement.get("customer", ""),
        version=statement.get("version", ""),
        passed=passed,
        checks=tuple(checks),
        seconds_to_ready=mine.seconds_to_ready,
    )


def _steps(mine: Installed, neighbour: Installed | None) -> list[tuple[str, Callable[[], str]]]:
    steps: list[tuple[str, Callable[[], str]]] = [
        ("package is whole", mine.unpack),
        ("signature", mine.check_signature),
    ]
    if neighbour:
        steps += [("neighbour starts", neighbour.install)]
    steps += [
        ("image loads", mine.load),
        ("starts with docker compose", mine.start),
        ("health of every service", mine.health),
        ("sign-in", mine.sign_in),
        ("counts and sample queries", mine.questions),
        ("its own verification", mine.verify),
        ("logs without errors", mine.logs),
    ]
    if neighbour:
        steps += [("isolation", lambda: mine.isolated_from(neighbour))]
    return [*steps, ("keys survive a restart", mine.restart), ("stops in order", mine.stop)]


def _try(checks: list[Check], name: str, step: Callable[[], str]) -> bool:
    clock, ok = time.monotonic(), True
    log.info(name)
    try:
        detail = step()
    except (CradleError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        detail, ok = str(error), False
    checks.append(Check(name=name, ok=ok, detail=detail, seconds=round(time.monotonic() - clock, 2)))
    return ok
