"""One DAG per customer, `maintenance_<customer>`: what is done by day, when the night is over.

Run:  "Trigger" in Airflow, or `airflow dags trigger maintenance_demo`
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk import get_parsing_context as parsing
from maintenance_steps import STEPS, reconcile, step
from night_defaults import common

from cradle.config import settings
from cradle.customers import customer_names, load_customer
from cradle.errors import ConfigError

DOC = """**What.** The upkeep of {how.title}: how fresh its sources are, its dbt docs, and whether every night of the
last week left what it should have left.

**When it fails.** *reconcile* lists what is missing, each with the command that repairs it. No table is changed.
"""


def make(name: str) -> None:
    """Make a customer's DAG; a broken YAML shows at its night."""
    try:
        how = load_customer(settings().customers, name).operation
    except ConfigError:
        return
    with DAG(
        f"maintenance_{name}",
        schedule=CronTriggerTimetable("0 8 * * *", timezone=how.timezone),
        catchup=False,
        max_active_runs=1,
        doc_md=DOC.format(how=how),
        tags={"maintenance", how.tier},
        default_args=common(how),
    ):
        for verb, (path, doc) in STEPS.items():
            step.override(task_id=verb, doc_md=doc)(name, path)
        reconcile(name)


for each in customer_names(settings().customers):
    if parsing().dag_id in (None, f"maintenance_{each}"):
        make(each)
