"""Runs verbs for tests, in this process or in a child that a test may kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date
from typing import Any

from cradle import releases
from cradle.bake import bake, verify
from cradle.bake.unpack import images
from cradle.catalog import Lake, open_lake, read, resolve, tables
from cradle.catalog.rows import arrow_digest
from cradle.config import PROJECT, Settings, quieten
from cradle.indexing import chunk_documents, embed_chunks, index_chunks

DAY = date(2024, 4, 1)
MARK = "killed at "


def night(settings: Settings, customer: str, day: date = DAY, *, upto: str = "verify") -> None:
    """Run the verbs of a night in their order."""
    from dbt_project.plugins.build import build
    from dlt_pipelines.ingest import ingest

    verbs = (ingest, build, chunk_documents, embed_chunks, index_chunks, releases.release, bake, verify)
    names = ("ingest", "build", "chunk", "embed", "index", "release", "bake", "verify")
    for name, verb in zip(names, verbs, strict=True):
        verb(settings, customer, day)
        if name == upto:
            return


def contents(lake: Lake) -> dict[str, str]:
    """Return table → digest of its rows on `main`, free of times and snapshot ids."""
    found = {}
    for layer in ("raw", "staging", "marts", "vectors"):
        for table in tables(lake, layer):
            pin = resolve(lake, table)
            assert pin is not None
            found[table] = arrow_digest(read(lake, pin))
    pin = resolve(lake, "ops.rejects")
    found["ops.rejects"] = arrow_digest(read(lake, pin)) if pin else ""
    return found


def layers(settings: Settings, customer: str) -> dict[str, str]:
    """Return name → digest of the data layers of the current image."""
    lake = open_lake(settings, customer)
    current = releases.current(lake)
    assert current is not None
    event = [row for row in releases.image_events(lake, current.release_id) if row["event"] == "baked"][-1]
    assert event["digest"] == images(settings.images(customer) / "layout")[f"{customer}:{current.short_id}"]
    return {one["name"]: one["digest"] for one in json.loads(event["layers"]) if one["name"] != "manifest"}


def child(
    settings: Settings, customer: str, *, upto: str, survived: list[str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a night in a process of its own; with `survived` it kills itself at the first point not named there."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "CRADLE_LOG_LEVEL": "ERROR"}
    if settings.catalog != "embedded":
        open_lake(settings, customer)  # provisions the customer
    request = {
        "settings": settings.model_dump(mode="json"),
        "customer": customer,
        "upto": upto,
        "survived": survived,
    }
    command = [sys.executable, "-m", "tests.nights", json.dumps(request)]
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def killed_at(out: bytes) -> str:
    """Return the point at which a child killed itself."""
    return out.decode().rpartition(MARK)[2]


def _main(request: dict[str, Any]) -> None:
    from cradle.points import LISTENERS

    quieten()
    survived = request["survived"]

    def listen(name: str) -> None:
        if survived is not None and not name.endswith(".looked") and name not in survived:
            sys.stdout.write(f"\n{MARK}{name}")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    LISTENERS.append(listen)
    found = Settings.model_validate(request["settings"])
    night(found, str(request["customer"]), upto=str(request["upto"]))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
