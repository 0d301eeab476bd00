"""Run one night of one customer through Airflow, in this process and with no server.

Flow: (customer, logical date) → DAG `night_<customer>` of the DAG folder → one DAG run, its logs, one outcome per verb
Run:  cradle night demo
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cradle.cli.airflow import prepare_airflow
from cradle.cli.progress import Redirect, Says, Step, Watch, lines
from cradle.config import PROJECT, Settings
from cradle.customers import Customer, load_customer, night_date
from cradle.errors import ConfigError, Unavailable


@dataclass(frozen=True)
class NightResult:
    """One DAG run: its id in Airflow, and its steps in the order in which they ended."""

    customer: str
    logical_date: date
    run_id: str
    seconds: float
    steps: tuple[Step, ...]


def run_night(
    settings: Settings,
    customer: str,
    logical_date: date | None = None,
    *,
    sources: list[str] | None = None,
    bake: bool = True,
    says: Says | None = None,
) -> NightResult:
    """Run a customer's DAG for one date; none: the date of the interval that contains now.

    Args:
        says: called with each step when it begins and ends; None: one line each on standard error.

    Raises:
        CradleError: what the failed verb raised; other exceptions of a verb come through as well.
        Unavailable: this customer's night runs already, or Airflow ended it without a word.
    """
    known = load_customer(settings.customers, customer)
    day = logical_date or night_date(known, None, datetime.now(UTC))
    conf = {"bake": bake, "sources": sources or [source.name for source in known.installation.sources]}
    clock = time.monotonic()
    with Redirect(settings.airflow() / "logs" / "night.log") as redirect, _only_one(settings, customer):
        watch = Watch(settings, customer, day, redirect, says or lines(redirect))
        run_id, state = _run(settings, known, day, conf, watch)
    if watch.error is not None:
        raise watch.error
    if state != "success":
        raise Unavailable(
            f"night of {customer}, {day}: Airflow ended the run as {state!r}, and no task said why. Read "
            f"{settings.airflow() / 'logs' / 'night.log'}, then run `cradle night {customer} --date {day}` again."
        )
    return NightResult(customer, day, run_id, round(time.monotonic() - clock, 2), tuple(watch.steps))


@contextmanager
def _only_one(settings: Settings, customer: str) -> Iterator[None]:
    settings.airflow().mkdir(parents=True, exist_ok=True)
    with (settings.airflow() / f"night_{customer}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(f"a night of {customer} runs already. Wait until it has ended, then try again.") from error
        yield


def _run(settings: Settings, customer: Customer, day: date, conf: dict[str, Any], watch: Watch) -> tuple[str, str]:
    prepare_airflow(settings)
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk.listener import get_listener_manager

    folder = PROJECT / "dags"
    dag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder").get_dag(f"night_{customer.customer}")
    if dag is None:
        raise ConfigError(f"Airflow finds no DAG night_{customer.customer} in {folder}. Run `cradle doctor`.")
    _end_dead_runs(dag.dag_id)
    listeners = get_listener_manager()
    listeners.add_listener(watch)
    try:
        run = dag.test(logical_date=_instant(customer, day), run_conf=conf)
    finally:
        listeners.pm.unregister(watch)
    return str(run.run_id), str(run.state)


def _instant(customer: Customer, day: date) -> datetime:
    """Return a moment of the local day that no other run has: Airflow keeps one run per dag and moment."""
    now = datetime.now(customer.operation.zone)
    return datetime.combine(day, now.timetz()).astimezone(UTC)


def _end_dead_runs(dag_id: str) -> None:
    """Mark runs whose process was killed as failed, else a scheduler that starts later would take them up."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    mine = (DagRun.dag_id == dag_id, DagRun.state == "running", DagRun.triggering_user_name == "dag_test")
    with create_session() as session:
        session.execute(update(DagRun).where(*mine).values(state="failed", end_date=datetime.now(UTC)))
