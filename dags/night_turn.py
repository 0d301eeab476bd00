"""Whose turn it is: one run of a customer between ingest and release, backfills included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowRescheduleException
from night_run import day_of, in_terminal

from cradle.config import settings

WAIT = timedelta(seconds=15)  # between two looks


def run_id_of(run: Any) -> str:
    """Return the name under which a run has its turn."""
    return f"{run.dag_id}/{run.run_id}"


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
