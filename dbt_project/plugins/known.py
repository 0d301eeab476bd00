"""Builds that were done before: the same inputs, models and parameters gave tables whose tests passed.

Starting dbt and running its tests takes seconds; a night in which nothing changed needs neither. What a build left is
one row in `ops.releases`, under the key of all that decides its result.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cradle import names
from cradle.catalog import Written, find_pin, ops, point_ref
from cradle.catalog.run import Run
from cradle.digest import canonical_hash, file_sha256, step_key
from cradle.releases import TABLE
from dbt_project.plugins.current import Build
from dbt_project.plugins.invoke import FOLDER, variables

KIND: Final = "built"  # of the row
BUILD_FORMAT: Final = 1  # raised when the plugin makes other tables of the same models and inputs
DECIDING: Final = (".sql", ".yml")


class Known(BaseModel):
    """What a build left: model → (table, step key), and how many tests passed."""

    model_config = ConfigDict(frozen=True)

    key: str
    steps: dict[str, tuple[str, str]]
    tests: int


def build_key(current: Build, layer: names.BuildLayer | None) -> str:
    """Return the step key of a whole build: what it reads, its models and tests, and their parameters."""
    run = current.run
    return step_key(
        "build all",
        format=BUILD_FORMAT,
        layer=layer or "",
        inputs={role: current.state.digest(role) for role in sorted(run.roles)},
        upstream={model: pin.step_key for model, pin in current.upstream.items()},
        models=_models(),
        variables=variables(run),
    )


def _models() -> str:
    """Return a hash of dbt's project and of the versions that compile it."""
    folders = (FOLDER / name for name in ("models", "macros", "tests"))
    files = [*FOLDER.glob("*.yml"), *(path for folder in folders for path in folder.rglob("*"))]
    found = {path.relative_to(FOLDER).as_posix(): file_sha256(path) for path in files if path.suffix in DECIDING}
    return canonical_hash([found, [metadata.version(name) for name in ("dbt-core", "dbt-duckdb", "duckdb")]])


def remember(current: Build, key: str, tests: int) -> None:
    """Record what a build left, once."""
    steps = {model: (one.pin.table, one.pin.step_key) for model, one in current.written.items()}
    row: dict[str, Any] = {
        "kind": KIND,
        "logical_date": current.run.logical_date,
        "row": Known(key=key, steps=steps, tests=tests).model_dump_json(),
        "created_at": datetime.now(UTC),
    }
    ops.append(current.run.lake, TABLE, ops.RELEASES, [row], key)


def recall(current: Build, key: str) -> int | None:
    """Let the branch of the date stand where a known build left it; return its tests, None when there is none."""
    run = current.run
    found = _row(run, key) if find_pin(run.lake, TABLE, key) else None
    if found is None:
        return None
    pins = {model: find_pin(run.lake, table, step) for model, (table, step) in found.steps.items()}
    there = {model: pin for model, pin in pins.items() if pin is not None}
    if len(there) < len(pins):
        return None
    for model, pin in there.items():
        point_ref(run.lake, pin.table, run.branch, pin.snapshot_id)
        current.written[model] = Written(pin, written=False)
    return found.tests


def _row(run: Run, key: str) -> Known | None:
    rows = [json.loads(row["row"]) for row in ops.rows(run.lake, TABLE) if row["kind"] == KIND]
    return next((Known.model_validate(row) for row in rows if row["key"] == key), None)
