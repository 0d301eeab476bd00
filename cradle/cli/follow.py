"""A night where a scheduler is alive: it gets the run, and this process tells of each task as it ends.

`dag.test` would do the tasks here, and the scheduler, which sees the same run, would do them once more.
Flow: trigger → task instances in Airflow's database → one line each; errors from the outcomes
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from cradle import errors, outcomes
from cradle.cli.progress import Step, Watch
from cradle.errors import CradleError

STATES = {"success": "success", "skipped": "skipped", "failed": "failed", "up_for_retry": "retry"}


def scheduler_works(dag_id: str) -> bool:
    """Tell whether a live scheduler would take up a run of this DAG."""
    from airflow.jobs.job import most_recent_job
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        job = most_recent_job("SchedulerJob", session=session)
        dag = session.get(DagModel, dag_id)
        return job is not None and job.is_alive() and dag is not None and not dag.is_paused


def follow(dag_id: str, logical_date: datetime, conf: dict[str, Any], watch: Watch) -> tuple[str, str]:
    """Trigger a run, say each task as it ends, and return the run's id and its last state."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import select

    run = trigger_dag(
        dag_id,
        triggered_by=DagRunTriggeredByType.CLI,
        triggering_user_name="cradle night",
        logical_date=logical_date,
        conf=conf,
        replace_microseconds=False,
    )
    mine = {"dag_id": dag_id, "run_id": run.run_id}
    seen: set[tuple[str, int, int]] = set()
    while True:
        with create_session() as session:
            state = session.scalar(select(DagRun._state).filter_by(**mine))
            found = session.scalars(select(TaskInstance).filter_by(**mine).order_by(TaskInstance.end_date)).all()
            for one in found:
                key = (one.task_id, one.map_index, one.try_number)
                if one.state in STATES and one.end_date and key not in seen:
                    seen.add(key)
                    watch.saw(_step(watch, one))
        if state not in ("queued", "running"):
            return run.run_id, str(state)
        time.sleep(1)


def _step(watch: Watch, task: Any) -> Step:
    state: Any = STATES[task.state]
    counts = watch.counted(task) if state == "success" else {}
    return Step(task.task_id, task.rendered_map_index, state, round(task.duration or 0.0, 2), counts)


def told(watch: Watch, run_id: str) -> CradleError | None:
    """Return the error that a run left in the outcomes, as its own kind; None when it left none."""
    failed = outcomes.failures(watch.settings, watch.customer, watch.day, run_id)
    if not failed:
        return None
    error = failed[0]["error"]
    kind = getattr(errors, error["type"], CradleError)
    return kind(error["message"]) if issubclass(kind, CradleError) else CradleError(error["message"])
