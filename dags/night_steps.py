"""The tasks of a night: each calls the function behind the command of its name, and hands on ids and counts."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from night_assets import tell
from night_defaults import TASK
from night_run import call, day_of, in_terminal, run_settings, sources_of
from night_turn import give_turn_back, wait_for_turn

log = logging.getLogger(__name__)
# task → (function, pool, what a person reads in the graph); a function is imported inside its task only
STEPS = {
    "staging": ("dbt_project.plugins.build:build", "services", "Cast and judge what was delivered; test it."),
    "marts": ("dbt_project.plugins.build:build", "services", "Build and test the marts, then publish them."),
    "chunk": ("cradle.indexing:chunk_documents", "services", "Cut the documents into chunks."),
    "embed": ("cradle.indexing:embed_chunks", "gpu", "Embed the texts that have no vector yet."),
    "index": ("cradle.indexing:index_chunks", "services", "Build the collection; a fresh process verifies it."),
    "release": ("cradle.releases:release", "services", "Pin all tables and vectors as one row; end the run's turn."),
    "bake": ("cradle.bake:bake", "bake", "Make the image of the release."),
    "verify": ("cradle.bake:verify", "bake", "Hash and count everything again, start it, ask it golden questions."),
    "publish": ("cradle.delivery.publish:publish", "bake", "Put the verified image into the archive, signed, once."),
}
VECTORS = ("chunk", "embed", "index")
ONCE = {"verify": {"once": True}}  # step → options of the night beside those of the command
AFTER = {"bake": "bake", "verify": "bake", "publish": "publish"}  # after the release: task → its switch in the form


@task(
    **TASK,
    doc_md="Wait for this run's turn; say what a backfill or a run by hand will change, before anything is written.",
)
def preview(name: str) -> list[str]:
    """Wait for this run's turn, say what a run out of order will change, and return the sources to ingest."""
    wait_for_turn(name)
    run, wanted = get_current_context()["dag_run"], sources_of(name)
    if wanted and run.run_type != "scheduled" and not in_terminal(run):
        from cradle import backfill

        log.info("%s", backfill.as_text(backfill.preview_of_run(run_settings(), name, day_of(name), wanted)))
    return wanted


@task(
    **TASK,
    map_index_template="{{ task.op_kwargs['source'] }}",
    doc_md="Keep what was delivered and load its rows, once.",
)
def ingest(name: str, source: str) -> dict[str, Any]:
    """Keep what was delivered and load its rows, once."""
    wait_for_turn(name)
    return call(name, "dlt_pipelines.ingest:ingest", sources=[source])


@task(**TASK)
def step(name: str, verb: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one verb for the customer and the date."""
    if verb not in AFTER:
        wait_for_turn(name)
    elif not get_current_context()["params"][AFTER[verb]]:
        raise AirflowSkipException(f"{AFTER[verb]!r} is switched off in the form of this run")
    made = call(name, path, **options)
    if verb == "release":
        give_turn_back(name)
    tell(verb, made)
    return made
