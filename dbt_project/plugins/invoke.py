"""Runs dbt in this process for one customer and date, and says what failed as errors of the product."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cradle import names
from cradle.catalog import connect_duckdb
from cradle.catalog.run import Run
from cradle.config import PROJECT, Settings
from cradle.errors import BuildFailed, Unavailable, of_a_server
from dbt_project.plugins.current import CURRENT, Build

FOLDER = PROJECT / "dbt_project"
RESULTS = "run_results.json"
SOURCES = "sources.json"
FAILING_ROWS = 3  # shown of a failed test
_ONE_AT_A_TIME = threading.Lock()  # dbt keeps its connection in a class attribute


def run_dbt(arguments: list[str], settings: Settings, current: Build) -> list[Ran]:
    """Run one dbt command over what the plugin shows and stores; return each model and test that ran.

    Raises:
        Unavailable: a server was lost.
        BuildFailed: dbt could not run, or a model or test failed.
    """
    result, folder = invoke(arguments, settings, current)
    ran = results(folder)
    refuse(ran, settings, current, folder)
    if not result.success:
        raise could_not_run(current.run, str(result.exception)) from result.exception
    return ran


def invoke(arguments: list[str], settings: Settings, current: Build) -> tuple[Any, Path]:
    """Run one dbt command; return its result and the folder that it wrote to."""
    from dbt.cli.main import dbtRunner

    folder = work_folder(settings, current.run)
    options = ["--project-dir", str(FOLDER), "--profiles-dir", str(FOLDER), "--target-path", str(folder)]
    options += ["--log-path", str(folder), "--vars", json.dumps(variables(current.run)), "--no-use-colors", "--quiet"]
    for name in (RESULTS, SOURCES):
        (folder / name).unlink(missing_ok=True)
    with _ONE_AT_A_TIME, showing(current):
        return dbtRunner().invoke([*arguments, *options]), folder


@contextlib.contextmanager
def showing(current: Build) -> Iterator[None]:
    """Let the plugin work for a build while dbt runs; dbt gives its plugins no argument."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager._ENV = None  # else the plugin of an earlier run in this process would answer
    CURRENT.append(current)
    try:
        yield
    finally:
        CURRENT.remove(current)


def could_not_run(run: Run, why: str) -> BuildFailed:
    """Return the error of a dbt that ended before it came to a model or test."""
    return BuildFailed(f"customer {run.customer.customer}, {run.logical_date}: dbt could not run: {why}")


def variables(run: Run) -> dict[str, Any]:
    """Return what the models need to know of the installation: columns, keys and dialects of each role."""
    roles = {}
    for role in sorted(run.roles & set(names.MODELLED_ROLES)):
        sources = run.installation.of_role(role)
        keys = [source.key for source in sources if source.key]
        roles[role] = {
            "columns": [column.model_dump(mode="json") for column in run.installation.columns(role)],
            "sources": [{"name": one.name, "dialect": one.dialect.model_dump(mode="json")} for one in sources],
            "key": list(keys[0]) if keys else [],
        }
    return {"roles": roles, **run.customer.operation.fresh.model_dump()}


def work_folder(settings: Settings, run: Run) -> Path:
    """Return where dbt keeps its compiled SQL, log and docs of one customer and date."""
    folder = settings.work(run.customer.customer) / "dbt" / run.logical_date.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Ran:
    """What dbt says of one model or test; `sql` is what was run."""

    kind: str
    name: str
    status: str
    message: str
    failures: int
    sql: str

    @property
    def good(self) -> bool:
        """Whether it was built, or passed."""
        return self.status not in ("fail", "error", "runtime error")


def results(target: Path) -> list[Ran]:
    """Return what dbt wrote to its target folder; nothing when it could not run."""
    path = target / RESULTS
    if not path.is_file():
        return []
    return [
        Ran(
            kind=one["unique_id"].split(".")[0],
            name=one["unique_id"].split(".")[2],
            status=one["status"],
            message=str(one["message"]),
            failures=one["failures"] or 0,
            sql=one.get("compiled_code") or "",
        )
        for one in json.loads(path.read_text(encoding="utf-8"))["results"]
    ]


def refuse(ran: list[Ran], settings: Settings, current: Build, target: Path) -> None:
    """Raise what went wrong, if anything did.

    Raises:
        Unavailable: a server was lost; that may be over soon, while a failed model or test is not.
        BuildFailed: a model or test failed.
    """
    bad = [one for one in ran if not one.good]
    if bad and current.failed is not None and of_a_server(current.failed):
        raise current.failed
    for one in bad:
        if any(word in one.message for word in ("HTTP Error", "HTTP GET error", "Could not establish connection")):
            raise Unavailable(
                f"DuckDB lost the store: {one.message}. Run `cradle doctor`, then the same command again."
            )
    if bad:
        run = current.run
        lines = [line for one in bad for line in _told(one, settings, current, target)]
        raise BuildFailed(
            f"customer {run.customer.customer}, {run.logical_date}: {len(bad)} model(s) or test(s) failed; nothing "
            f"was published.\n" + "\n".join(lines) + f"\nSee {work_folder(settings, run) / 'dbt.log'}."
        )


def _told(one: Ran, settings: Settings, current: Build, target: Path) -> list[str]:
    """Return what a person needs to know of a failure: dbt's message, where the SQL is kept, some rows."""
    kept = work_folder(settings, current.run) / "failed" / f"{one.name}.sql"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(one.sql or _compiled(target, one.name), encoding="utf-8")
    failures = f", {one.failures} rows" if one.failures else ""
    rows = _failing_rows(one, settings, current) if one.kind == "test" and one.failures else []
    return [
        f"  {one.name}: {one.status}{failures}: {one.message}",
        f"    SQL: {kept}",
        *(f"    row: {row}" for row in rows),
    ]


def _compiled(target: Path, name: str) -> str:
    """Return the SQL of a model that failed: dbt's results hold only what ran."""
    return "".join(path.read_text(encoding="utf-8") for path in (target / "compiled").rglob(f"{name}.sql"))


def _failing_rows(one: Ran, settings: Settings, current: Build) -> list[dict[str, Any]]:
    """Return some rows that a test found."""
    from dbt_project.plugins.lake import show

    with connect_duckdb(settings) as con:
        show(con, current)
        found = con.execute(f"select * from ({one.sql}) limit {FAILING_ROWS}")
        columns = [column[0] for column in found.description or []]
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
