"""All customers at once: starts their nights, waits without holding a slot, and writes one summary.

Run:  "Trigger" in Airflow, or `airflow dags trigger fleet`
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk import get_parsing_context as parsing
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, DagRunTriggerException
from night_end import START

from cradle.config import settings
from cradle.customers import customer_names, interval_of, load_customer
from cradle.errors import Unavailable

WAIT = timedelta(seconds=15)
DOC = """**What.** Starts `night_<customer>` of all customers or of those chosen, waits for them, writes one summary.

**When it fails.** A night has failed: the log of `summary` names it. Repair it there; the others are not touched.
A paused DAG can't be started: switch it on first.
"""


@task(map_index_template="{{ task.op_kwargs['name'] }}")
def start(name: str) -> None:
    """Start the night of one customer."""
    context = get_current_context()
    params, run_id = context["params"], f"fleet__{context['run_id']}"
    if name not in params["customers"]:
        raise AirflowSkipException(f"{name} was not chosen for this run")
    if context["ti"].get_dag(f"night_{name}").is_paused:
        raise Unavailable(
            f"night_{name} is paused. Switch it on (`airflow dags unpause night_{name}`), then clear this task."
        )
    when = datetime.now(UTC)
    if params["date"]:
        when, _ = interval_of(load_customer(settings().customers, name), date.fromisoformat(params["date"]))
    conf = {"bake": params["bake"]}
    raise DagRunTriggerException(trigger_dag_id=f"night_{name}", dag_run_id=run_id, run_after=when, conf=conf, **START)


@task(trigger_rule="all_done", retries=0)
def summary() -> str:
    """Wait until every night has ended; then say how."""
    from cradle.summary import write_fleet

    context = get_current_context()
    run_id, count = f"fleet__{context['run_id']}", context["ti"].get_dr_count

    def stands(name: str, *states: str) -> bool:
        return bool(count(dag_id=f"night_{name}", run_ids=[run_id], states=list(states)))

    chosen = context["params"]["customers"]
    if any(stands(name, "queued", "running") for name in chosen):
        raise AirflowRescheduleException(datetime.now(UTC) + WAIT)
    states = {name: next((one for one in ("success", "failed") if stands(name, one)), "not started") for name in chosen}
    return str(write_fleet(settings(), context["run_id"], run_id, states))


names: list[str] = customer_names(settings().customers)
fields: dict[str, Any] = {
    "customers": Param(
        names, "Whose nights to start.", type="array", items={"type": "string", "enum": names}, examples=names
    ),
    "date": Param(None, "Logical date; empty: tonight's.", type=["string", "null"], format="date"),
    "bake": Param(True, "Make and verify the images.", type="boolean"),
}
if parsing().dag_id in (None, "fleet"):
    with DAG("fleet", schedule=None, catchup=False, max_active_runs=1, doc_md=DOC, tags={"fleet"}, params=fields):
        start.expand(name=names) >> summary()
