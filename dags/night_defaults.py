"""What all tasks and DAGs of a customer have in common: tries, limits, rank, deadline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DeadlineAlert, DeadlineReference, ExceptionRetryPolicy, RetryAction, RetryRule, SyncCallback

from cradle.customers import Operation

# A bad file or a failed test never heals by itself; a server, a lock or a lost race may.
RETRY = ExceptionRetryPolicy([RetryRule("cradle.errors.Retryable", RetryAction.RETRY)], default=RetryAction.FAIL)
PRIORITY = {"gold": 100, "silver": 10, "bronze": 1}


# Of every task; not among a DAG's default arguments, which Airflow copies deeply for each task it parses.
TASK: dict[str, Any] = {
    "retries": 3,
    "retry_policy": RETRY,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=6),
    "trigger_rule": "none_failed",
    "weight_rule": "absolute",
}


def common(how: Operation) -> dict[str, Any]:
    """Return the default arguments of a customer's tasks."""
    return {"owner": how.owner, "priority_weight": PRIORITY[how.tier]}


def deadline(how: Operation) -> DeadlineAlert | None:
    """Return what tells that a night goes on for too long."""
    if how.late_hours is None:
        return None
    late = SyncCallback("late.tell_late")  # in dags/plugins
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=how.late_hours), late)
