"""What every verb needs to know about its run: the lake, the customer, the epoch, the date."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import psycopg

from cradle.catalog.connect import advisory_lock
from cradle.catalog.epochs import Epoch, epoch_of
from cradle.catalog.lake import Lake, asof_branch, open_lake
from cradle.config import Settings
from cradle.customers import Customer, load_customer
from cradle.errors import Unavailable
from cradle.installation import Installation

LOCK_SECONDS = 600  # a build of the largest example takes a tenth of that


@dataclass(frozen=True)
class Run:
    """One customer, one logical date."""

    lake: Lake
    customer: Customer
    valid: Epoch
    logical_date: date

    @property
    def installation(self) -> Installation:
        """The installation block of the epoch that holds for this date."""
        return self.valid.installation

    @property
    def epoch(self) -> int:
        """Number of that epoch."""
        return self.valid.epoch

    @property
    def branch(self) -> str:
        """Branch of every table that this run writes."""
        return asof_branch(self.logical_date)

    @property
    def roles(self) -> set[str]:
        """The roles that this customer's sources play."""
        return {source.role for source in self.installation.sources}


def open_run(settings: Settings, customer: str, logical_date: date) -> Run:
    """Load the customer, open its lake and find the epoch of the date.

    Raises:
        UnknownCustomer, ConfigError: there is no valid YAML of that name.
        EpochRefused: the installation block has changed.
    """
    loaded = load_customer(settings.customers, customer)
    lake = open_lake(settings, customer)
    return Run(lake, loaded, epoch_of(lake, loaded, logical_date), logical_date)


@contextlib.contextmanager
def run_lock(settings: Settings, customer: str, what: str = "") -> Iterator[None]:
    """Hold the lock of one customer and environment; wait while another process has it.

    Args:
        what: name of a lock beside that of the verbs.

    Raises:
        Unavailable: the other process did not let go in time.
    """
    if settings.database is not None:
        with _shared_lock(settings, customer, what):
            yield
        return
    path = settings.lake(customer) / f"{'-'.join(filter(None, (settings.environment, what)))}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise _held(customer, path.name) from error
                time.sleep(0.2)
        yield


@contextlib.contextmanager
def _shared_lock(settings: Settings, customer: str, what: str) -> Iterator[None]:
    name = f"{customer} {settings.environment} {what}".strip()
    try:
        with advisory_lock(settings, name, LOCK_SECONDS):
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise _held(customer, f"the lock of {name}") from error


def _held(customer: str, lock: str) -> Unavailable:
    return Unavailable(
        f"another run of customer {customer} holds {lock} for more than {LOCK_SECONDS} s. "
        f"See what runs with `cradle status {customer}`, then run the same command again."
    )
