"""Run one night of one customer through Airflow, in this process and with no server.

Flow: (customer, logical date) → DAG `night_<customer>` of the DAG folder → one DAG run, its logs, one outcome per verb
Run:  cradle night demo
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

from cradle.catalog.turn import terminal_night
from cradle.cli.airflow import end_dead_runs, prepare_airflow, tell_times
from cradle.cli.follow import follow, scheduler_works, told
from cradle.cli.progress import VERBS, Redirect, Step, Watch, lines, silence
from cradle.config import PROJECT, Settings
from cradle.customers import Customer, interval_of, load_customer, night_date
from cradle.errors import ConfigError, Unavailable


@dataclass(frozen=True)
class NightResult:
    """One DAG run: its id in Airflow, and its steps in the order in which they ended."""

    customer: str
    logical_date: date
    run_id: str
    seconds: float
    steps: tuple[Step, ...]

    def count(self, verb: str, name: str) -> int:
        """Return what a verb counted, over all its tasks."""
        return sum(int(step.counts.get(name, 0)) for step in self.steps if step.verb == verb)

    def seconds_by_verb(self) -> dict[str, float]:
        """Return the seconds of each verb, over all its tasks, in the order of the night."""
        taken: dict[str, float] = {}
        for step in (one for one in self.steps if one.verb in VERBS):
            taken[step.verb] = round(taken.get(step.verb, 0.0) + step.seconds, 2)
        return taken


def run_night(
    settings: Settings,
    customer: str,
    logical_date: date | None = None,
    *,
    sources: list[str] | None = None,
    bake: bool = True,
    quiet: bool = False,
) -> NightResult:
    """Run a customer's DAG for one date; none: the date of the interval that contains now.

    Args:
        quiet: say nothing; else each task is one line on standard error.

    Raises:
        CradleError: what the failed verb raised; other exceptions of a verb come through as well.
        Unavailable: this customer's night runs already, or Airflow ended it without a word.
    """
    known = load_customer(settings.customers, customer)
    day = logical_date or night_date(known, None, datetime.now(UTC))
    conf = {"bake": bake, "sources": sources or [source.name for source in known.installation.sources]}
    clock = time.monotonic()
    with Redirect(settings.airflow() / "logs" / "night.log") as redirect, terminal_night(settings, customer):
        watch = Watch(settings, customer, day, redirect, silence if quiet else lines(redirect))
        run_id, state = _run(settings, known, day, conf, watch)
    if watch.error is not None:
        raise watch.error
    if state != "success":
        raise told(watch, run_id) or Unavailable(
            f"night of {customer}, {day}: Airflow ended the run as {state!r}, and no task said why. Read "
            f"{settings.airflow() / 'logs' / 'night.log'}, then run `cradle night {customer} --date {day}` again."
        )
    return NightResult(customer, day, run_id, round(time.monotonic() - clock, 2), tuple(watch.steps))


def _run(settings: Settings, customer: Customer, day: date, conf: dict[str, Any], watch: Watch) -> tuple[str, str]:
    prepare_airflow(settings)
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk.listener import get_listener_manager

    folder = PROJECT / "dags"
    dag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder").get_dag(f"night_{customer.customer}")
    if dag is None:
        raise ConfigError(f"Airflow finds no DAG night_{customer.customer} in {folder}. Run `cradle doctor`.")
    end_dead_runs(dag.dag_id)
    if scheduler_works(dag.dag_id):
        return follow(dag.dag_id, _instant(customer, day), conf, watch)
    dag.deadline = None  # `dag.test` looks for its id in the database, and Airflow 3.3 keeps none for such a run
    began = datetime.now(UTC)
    listener, manager = _listener(watch), get_listener_manager()
    manager.add_listener(listener)
    try:
        run = dag.test(logical_date=_instant(customer, day), run_conf={**conf, "terminal": True})
    finally:
        manager.pm.unregister(listener)
        tell_times(f"night_{customer.customer}", began, interval_of(customer, day))
    return str(run.run_id), str(run.state)


def _listener(watch: Watch) -> SimpleNamespace:
    """Return what Airflow calls for every task; the names of functions and arguments are Airflow's."""
    from airflow.listeners import hookimpl

    def running(task_instance: Any) -> None:
        watch.begins(task_instance)

    def success(task_instance: Any) -> None:
        watch.ends(task_instance, "success")

    def skipped(task_instance: Any) -> None:
        watch.ends(task_instance, "skipped")

    def failed(task_instance: Any, error: Any) -> None:
        watch.fails(task_instance, error)

    hooks = {"running": running, "success": success, "skipped": skipped, "failed": failed}
    return SimpleNamespace(**{f"on_task_instance_{name}": hookimpl(hook) for name, hook in hooks.items()})


def _instant(customer: Customer, day: date) -> datetime:
    """Return a moment of the local day that no other run has: Airflow keeps one run per dag and moment."""
    now = datetime.now(customer.operation.zone)
    return datetime.combine(day, now.timetz()).astimezone(UTC)
