"""Whose turn it is: one run per customer and environment is between ingest and release at a time.

A night is many processes, so a lock that ends with its process can't hold it: the turn is a small file, changed under a
lock, that names a run. A run that has ended without giving the turn back has lost it.

Flow: run takes the turn → verbs → release gives it back
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cradle.catalog.run import run_lock
from cradle.config import Settings
from cradle.errors import Unavailable
from cradle.files import write_whole
from cradle.log import get

log = get("turn")


class Turn(BaseModel):
    """Who has the turn: `run` names an Airflow run; `terminal`: it lives in one process, that of `cradle night`."""

    model_config = ConfigDict(frozen=True)

    run: str
    terminal: bool
    logical_date: date
    since: datetime


def take_turn(
    settings: Settings,
    customer: str,
    run: str,
    logical_date: date,
    alive: Callable[[Turn], bool],
    *,
    terminal: bool = False,
) -> Turn | None:
    """Take the turn; return who has it when that is another run.

    Args:
        alive: tells whether the run that has it may still go on; else the turn is free.
    """
    with run_lock(settings, customer, "turn"):
        now = turn_of(settings, customer)
        if now is not None and now.run != run and alive(now):
            return now
        if now is None or now.run != run:
            taken = Turn(run=run, terminal=terminal, logical_date=logical_date, since=datetime.now(UTC))
            write_whole(_path(settings, customer), taken.model_dump_json())
        return None


def end_turn(settings: Settings, customer: str, run: str) -> None:
    """Give the turn back, when it is this run's."""
    with run_lock(settings, customer, "turn"):
        now = turn_of(settings, customer)
        if now is not None and now.run == run:
            _path(settings, customer).unlink()


def turn_of(settings: Settings, customer: str) -> Turn | None:
    """Return who has the turn, None when nobody has."""
    path = _path(settings, customer)
    return Turn.model_validate_json(path.read_bytes()) if path.is_file() else None


@contextlib.contextmanager
def terminal_night(settings: Settings, customer: str) -> Iterator[None]:
    """Hold what only one `cradle night` of a customer may hold, until this process ends.

    Raises:
        Unavailable: another `cradle night` of this customer runs.
    """
    with _night_lock(settings, customer) as mine:
        if not mine:
            raise Unavailable(f"a night of {customer} runs already. Wait until it has ended, then try again.")
        yield


def terminal_night_runs(settings: Settings, customer: str) -> bool:
    """Tell whether a `cradle night` of a customer is alive on this machine."""
    with _night_lock(settings, customer) as mine:
        return not mine


@contextlib.contextmanager
def _night_lock(settings: Settings, customer: str) -> Iterator[bool]:
    path = settings.airflow() / f"night_{customer}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _path(settings: Settings, customer: str) -> Path:
    return settings.home / "turns" / customer / f"{settings.environment}.json"
