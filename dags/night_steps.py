"""The tasks of a night: each calls the function behind the command of its name, and hands on ids and counts."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from cradle.config import settings
from cradle.customers import load_customer, night_date

# verb → function, imported inside the task only, and what a person reads in the graph
STEPS = {
    "build": ("dbt_project.plugins.build:build", "Compute and test staging and marts, then publish them."),
    "chunk": ("cradle.indexing:chunk_documents", "Cut the documents into chunks."),
    "embed": ("cradle.indexing:embed_chunks", "Embed the texts that have no vector yet."),
    "index": ("cradle.indexing:index_chunks", "Build the collection; a fresh process verifies it."),
    "release": ("cradle.releases:release", "Pin all tables and vectors as one row."),
    "bake": ("cradle.bake:bake", "Make the image of the release."),
    "verify": ("cradle.bake:verify", "Hash and count everything again, serve it, ask it golden questions."),
}


def call(name: str, path: str, **options: Any) -> dict[str, Any]:
    """Call a verb for a customer and the logical date of this run."""
    run, (module, function) = get_current_context()["dag_run"], path.split(":")
    day = night_date(load_customer(settings().customers, name), run.logical_date, run.run_after)
    made = getattr(import_module(module), function)(settings(), name, day, **options)
    return made.model_dump(mode="json")


@task(map_index_template="{{ task.op_kwargs['source'] }}", doc_md="Keep what was delivered and load its rows, once.")
def ingest(name: str, source: str) -> dict[str, Any]:
    """Keep what was delivered and load its rows, once."""
    if source not in get_current_context()["params"]["sources"]:
        raise AirflowSkipException(f"source {source} was not chosen for this run")
    return call(name, "dlt_pipelines.ingest:ingest", sources=[source])


@task
def step(name: str, verb: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one verb for the customer and the date."""
    if verb in ("bake", "verify") and not get_current_context()["params"]["bake"]:
        raise AirflowSkipException("this run makes no image")
    return call(name, STEPS[verb][0], **options)


@task
def read_customer_file(name: str) -> None:
    """Fail with what is wrong in the customer's YAML."""
    load_customer(settings().customers, name)
