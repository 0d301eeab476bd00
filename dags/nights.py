"""One DAG per customer, `night_<customer>`: inbox → tables → vectors → release → verified image.

Run:  cradle night demo, or "Trigger" in Airflow
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, TaskGroup, chain
from airflow.sdk import get_parsing_context as parsing
from night_assets import outlets
from night_defaults import common, deadline
from night_end import read_customer_file, report, tell_failure
from night_form import DOC, form
from night_steps import AFTER, ONCE, STEPS, VECTORS, ingest, preview, step

from cradle.config import settings
from cradle.customers import Customer, Operation, customer_names, load_customer
from cradle.errors import ConfigError


def build(customer: Customer) -> tuple[TaskGroup, Any]:
    """Return the tasks of dbt, one per layer or one per model, and the result of the last."""
    if customer.operation.dbt_tasks == "model":
        from model_tasks import dbt_tasks

        return dbt_tasks(customer)
    with TaskGroup("build", tooltip="dbt: staging and marts, tested, then published") as group:
        staging = add(customer, "staging", layer="staging")
        marts = add(customer, "marts", layer="marts", attempt=staging["attempt"])
    return group, marts


def add(customer: Customer, verb: str, **options: Any) -> Any:
    """Add the task of one step."""
    path, pool, doc = STEPS[verb]
    task = step.override(task_id=verb, doc_md=doc, pool=pool, outlets=outlets(customer, verb))
    return task(customer.customer, verb, path, options)


def fill(customer: Customer) -> None:
    """Chain the steps: attempt number and release id are handed on, so that an overtaken run can't publish."""
    name, (group, built) = customer.customer, build(customer)
    first = preview(name)
    loaded = ingest.override(pool="services").partial(name=name).expand(source=first)
    release = add(customer, "release", attempt=built["attempt"])
    after = {verb: add(customer, verb, release_id=release["release_id"], **ONCE.get(verb, {})) for verb in AFTER}
    end = report(name).as_teardown()
    chain(first, loaded, group, *(add(customer, verb) for verb in VECTORS), release, *after.values(), end)


def make(name: str) -> None:
    """Make a customer's DAG; one whose YAML is broken fails with the reason and harms no other DAG."""
    customer: Customer | None = None
    try:
        customer = load_customer(settings().customers, name)
        how = customer.operation
    except ConfigError as error:
        how = Operation(title=f"The YAML of {name} is broken", description=f"\n```\n{error}\n```\n")
    sources = [source.name for source in customer.installation.sources] if customer else []
    with DAG(
        f"night_{name}",
        schedule=CronDataIntervalTimetable(how.schedule, timezone=how.timezone),
        catchup=False,
        max_active_runs=1,
        doc_md=DOC.format(how=how, name=name, sources=", ".join(sources)),
        tags={"night", how.tier, "customer" if customer else "broken"},
        default_args=common(how),
        on_failure_callback=tell_failure,
        deadline=deadline(how),
    ) as dag:
        fill(customer) if customer else read_customer_file(name)
    dag.params.update(form(how, sources))  # at last: Airflow copies them deeply, four times for each task it makes


for each in customer_names(settings().customers):
    if parsing().dag_id in (None, f"night_{each}"):
        make(each)
