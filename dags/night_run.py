"""What a task knows of the run that it belongs to: its date, its settings, and whose turn it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowRescheduleException

from cradle.config import Settings, settings
from cradle.customers import load_customer, night_date

WAIT = timedelta(seconds=15)  # between two looks at whose turn it is


def day_of(name: str) -> date:
    """Return the logical date of this run."""
    run = get_current_context()["dag_run"]
    return night_date(load_customer(settings().customers, name), run.logical_date, run.run_after)


def run_settings() -> Settings:
    """Return the settings with what the form of this run says."""
    params = get_current_context()["params"]
    epoch = int(params["epoch"]) if params["epoch"] else None
    return settings().model_copy(update={"epoch": epoch, "full_refresh": params["full_refresh"]})


def run_id_of(run: Any) -> str:
    """Return the name under which a run has its turn."""
    return f"{run.dag_id}/{run.run_id}"


def in_terminal(run: Any) -> bool:
    """Tell whether a run is one of `cradle night`: all of it lives in one process, and no scheduler knows it."""
    return bool((run.conf or {}).get("terminal"))


def call(name: str, path: str, **options: Any) -> dict[str, Any]:
    """Call a verb for a customer and the logical date of this run, with what its form says."""
    module, function = path.split(":")
    made = getattr(import_module(module), function)(run_settings(), name, day_of(name), **options)
    return made.model_dump(mode="json")


def wait_for_turn(name: str) -> None:
    """Go on when no other run of the customer is between ingest and release; else look again later, without a slot."""
    from cradle.catalog import turn

    context, found = get_current_context(), settings()
    run, count = context["dag_run"], context["ti"].get_dr_count

    def alive(other: turn.Turn) -> bool:
        if other.terminal and not turn.terminal_night_runs(found, name):
            return False
        dag_id, _, run_id = other.run.partition("/")
        return bool(count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]))

    other = turn.take_turn(found, name, run_id_of(run), day_of(name), alive, terminal=in_terminal(run))
    if other is not None:
        turn.log.info(f"waiting: {other.run} has the turn", date=str(other.logical_date), since=str(other.since))
        raise AirflowRescheduleException(datetime.now(UTC) + WAIT)


def give_turn_back(name: str) -> None:
    """Let the next run of the customer go on."""
    from cradle.catalog.turn import end_turn

    end_turn(settings(), name, run_id_of(get_current_context()["dag_run"]))
