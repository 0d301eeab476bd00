"""What a DAG says of itself, and what a person may choose when a night is triggered."""

from __future__ import annotations

from airflow.sdk import Param

from cradle.customers import Operation

DOC = """**What.** {how.title}: {how.description} One day becomes tables, vectors and one verified image.

**Data flow.** {sources} → raw → staging → marts → chunks → embeddings → collection → release → image. The logical
date is the local date ({how.timezone}) on which the data interval begins.

**When it fails.** Readers keep the release before; nothing is half done. The log of the failed task ends with what
failed, what is allowed and the next command. Put it right and *Clear* the task; any date may be run again.

**Before a backfill.** `cradle backfill preview {name} --from <date> --to <date>` tells what it will change.

**Owner.** {how.owner}
"""


def form(how: Operation, sources: list[str]) -> dict[str, Param]:
    """Return the fields of the form."""
    choice = {"type": "array", "items": {"type": "string", "enum": sources}, "examples": sources}
    return {
        "sources": Param(
            sources, "What to ingest. A source that is not chosen keeps what it has.", title="Sources", **choice
        ),
        "full_refresh": Param(
            False,
            "Compute every table, chunk and collection again, even what is known to be unchanged. Rows are not loaded "
            "twice and texts are not embedded twice; equal content makes no new snapshot.",
            type="boolean",
            title="Full refresh",
        ),
        "bake": Param(True, "Make the image of the release and verify it.", type="boolean", title="Bake and verify"),
        "publish": Param(how.publish, "Publish the verified image to the archive.", type="boolean", title="Publish"),
        "epoch": Param(
            None,
            "Number of the accepted installation epoch to run with. Empty: the one that holds for the date.",
            type=["null", "string", "integer"],  # the form sends text, the API and the command line numbers
            pattern="^[1-9][0-9]*$",
            minimum=1,
            title="Installation epoch",
        ),
    }
