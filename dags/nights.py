"""One DAG per customer, `night_<customer>`: inbox → tables → vectors → release → verified image.

Run:  cradle night demo, or "Trigger" in Airflow
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk import get_parsing_context as parsing
from night_steps import STEPS, ingest, read_customer_file, step

from cradle.config import settings
from cradle.customers import Customer, Operation, customer_names, load_customer
from cradle.errors import ConfigError

DOC = """**What.** {how.title}: {how.description} One day becomes tables, vectors and one verified image.

**Data flow.** {sources} → raw → staging → marts → chunks → embeddings → collection → release → image. The logical
date is the local date ({how.timezone}) on which the data interval begins.

**When it fails.** Readers keep the release before; nothing is half done. The log of the failed task ends with what
failed, what is allowed and the next command. Put it right and *Clear* the task; any date may be run again.

**Owner.** {how.owner}
"""
RETRY = ExceptionRetryPolicy([RetryRule("cradle.errors.Retryable", RetryAction.RETRY)], default=RetryAction.FAIL)
TASK = {"retries": 2, "retry_delay": timedelta(seconds=30), "retry_policy": RETRY}
TASK |= {"execution_timeout": timedelta(hours=6), "trigger_rule": "none_failed"}


def fill(name: str, sources: list[str]) -> None:
    """Chain the steps: attempt number and release id are handed on, so that an overtaken run can't publish."""
    before = ingest.partial(name=name).expand(source=sources)
    made: dict[str, Any] = {}
    for verb, (_, doc) in STEPS.items():
        options = {"attempt": made["build"]["attempt"]} if verb == "release" else {}
        options |= {"release_id": made["release"]["release_id"]} if verb in ("bake", "verify") else {}
        made[verb] = step.override(task_id=verb, doc_md=doc)(name, verb, options)
        before >> made[verb]
        before = made[verb]


def make(name: str) -> None:
    """Make a customer's DAG; one whose YAML is broken fails with the reason and harms no other DAG."""
    customer: Customer | None = None
    try:
        customer = load_customer(settings().customers, name)
        how = customer.operation
    except ConfigError as error:
        how = Operation(title=f"The YAML of {name} is broken", description=f"\n```\n{error}\n```\n")
    sources = [source.name for source in customer.installation.sources] if customer else []
    choice = {"type": "array", "items": {"enum": sources}, "examples": sources}
    with DAG(
        f"night_{name}",
        schedule=CronDataIntervalTimetable(how.schedule, timezone=how.timezone),
        catchup=False,
        max_active_runs=1,
        doc_md=DOC.format(how=how, sources=", ".join(sources)),
        tags={"night", "customer" if customer else "broken"},
        default_args={**TASK, "owner": how.owner},
        params={
            "sources": Param(sources, "Sources to ingest; the others are left as they are.", **choice),
            "bake": Param(True, "Make and verify the image.", type="boolean"),
        },
    ):
        fill(name, sources) if customer else read_customer_file(name)


for each in customer_names(settings().customers):
    if parsing().dag_id in (None, f"night_{each}"):
        make(each)
