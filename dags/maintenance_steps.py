"""The tasks of a customer's maintenance; none of them changes a table."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from airflow.sdk import get_current_context, task
from night_defaults import TASK

from cradle.config import settings
from cradle.customers import interval_of, load_customer, night_date

log = logging.getLogger(__name__)
DAYS = 7  # that are reconciled
STEPS = {
    "freshness": ("dbt_project.plugins.freshness:freshness", "Tell how old the newest delivery of each role is."),
    "docs": ("dbt_project.plugins.docs:docs", "Write dbt's docs: models, columns, tests, lineage."),
}


@task(**TASK, pool="services")
def step(name: str, path: str) -> dict[str, Any]:
    """Call a function for the customer, as of the newest night."""
    module, function = path.split(":")
    day = night_date(load_customer(settings().customers, name), None, datetime.now(UTC))
    return getattr(import_module(module), function)(settings(), name, day).model_dump(mode="json")


@task(**TASK, pool="services", doc_md="Compare schedule, outcomes, releases, images and runs; tell what is missing.")
def reconcile(name: str) -> int:
    """Compare what should have happened with what did."""
    from cradle import reconcile as nightly
    from cradle.schedule import nights

    customer, now = load_customer(settings().customers, name), datetime.now(UTC)
    count = get_current_context()["ti"].get_dr_count
    runs = {}
    for day in (one.logical_date for one in nights(customer, now, DAYS)):
        begins, _ = interval_of(customer, day)
        for state in ("success", "failed", "running"):
            if count(f"night_{name}", [begins], states=[state]):
                runs[day] = state
    made = nightly.reconcile(settings(), name, now, days=DAYS, runs=runs)
    for one in made.findings:
        log.warning("%s: %s\n  %s", one.kind, one.text, one.run)
    nightly.tell(settings(), made, now)
    return len(made.findings)
