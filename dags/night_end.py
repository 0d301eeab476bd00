"""How a run ends: a summary, messages to people, and the rebuild of the newest date where a backfill made it stale."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import DagRunTriggerException
from night_run import date_of, day_of, in_terminal
from night_turn import give_turn_back

from cradle.config import settings
from cradle.customers import interval_of, load_customer

log = logging.getLogger(__name__)
START = {"reset_dag_run": False, "skip_when_already_exists": True, "wait_for_completion": False, "deferrable": False}
START |= {"allowed_states": [], "failed_states": [], "poke_interval": 60}


@task(weight_rule="absolute", doc_md="Give the turn back, write the summary, tell people, rebuild what became stale.")
def report(name: str) -> str:
    """Say what came of the run, however it ended."""
    from cradle import alerts
    from cradle.summary import write_summary

    context = get_current_context()
    run, day = context["dag_run"], day_of(name)
    told = {"dag_id": run.dag_id, "run_id": run.run_id}
    states = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
    give_turn_back(name)
    made = write_summary(settings(), name, day, run.run_id, states)
    log.info("%s", made.text)
    if made.rejects is not None:
        alerts.rejects_above_limit(settings(), name, day, made.rejects, **told)
    if made.failed:
        alerts.run_failed(settings(), name, day, **told)
    else:
        alerts.run_well(settings(), name, day)
        if not in_terminal(run):
            rebuild_newest(name, context)
    return str(made.path)


def rebuild_newest(name: str, context: Any) -> None:
    """Trigger a run of the newest released date when it is stale, unless another run of the customer waits or works."""
    from cradle.catalog.turn import turn_of
    from cradle.stale import newest_date_is_stale

    newest, dag_id = newest_date_is_stale(settings(), name), context["dag"].dag_id
    if newest is None or newest <= day_of(name):
        return
    if turn_of(settings(), name) or context["ti"].get_dr_count(dag_id=dag_id, states=["queued"]):
        log.info("%s is stale; the last of the runs that wait rebuilds it", newest)
        return
    begins, _ = interval_of(load_customer(settings().customers, name), newest)
    run_id = f"rebuild__{newest}__after__{context['run_id']}"
    log.info("%s is stale; triggering %s", newest, run_id)
    conf, note = {"sources": []}, "A backfill corrected an older period, so the newest date is built again."
    raise DagRunTriggerException(
        trigger_dag_id=dag_id, dag_run_id=run_id, run_after=begins, conf=conf, note=note, **START
    )


def tell_failure(context: Any) -> None:
    """Airflow calls this where the DAG processor runs, also when no task could tell any more."""
    from cradle import alerts

    run = context["dag_run"]
    name = run.dag_id.removeprefix("night_")
    alerts.run_failed(settings(), name, date_of(name, run), run_id=run.run_id, dag_id=run.dag_id)


@task
def read_customer_file(name: str) -> None:
    """Fail with what is wrong in the customer's YAML."""
    load_customer(settings().customers, name)
