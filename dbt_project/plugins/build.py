"""The verb `build`: raw → staging → marts on the branch of the date, tested there, then published.

Flow: raw.<role> as of the date → dbt build (models and tests) → main of the marts
Run:  cradle build demo
"""

from __future__ import annotations

import json
import threading
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import names, releases
from cradle.catalog import open_lake, publish
from cradle.catalog.deliveries import as_of
from cradle.catalog.run import Run, open_run, run_lock
from cradle.config import PROJECT, Settings
from cradle.errors import BuildFailed, MissingStep, Unavailable, of_a_server
from cradle.log import get
from cradle.outcomes import outcome

log = get("build")
FOLDER = PROJECT / "dbt_project"
FAILING_ROWS = 3  # shown of a failed test
_ONE_AT_A_TIME = threading.Lock()  # dbt keeps its connection in a class attribute


class BuiltTable(BaseModel):
    """One model's table after the build."""

    model_config = ConfigDict(frozen=True)

    snapshot_id: int
    rows: int
    written: bool


class BuildResult(BaseModel):
    """What a run of `build` did."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    attempt: int
    tables: dict[str, BuiltTable]
    published: tuple[str, ...]
    tests: int


def build(settings: Settings, customer: str, logical_date: date) -> BuildResult:
    """Build and test every model of the customer's roles, then move `main` unless the date is an old one.

    Raises:
        MissingStep: nothing was ingested for the date.
        BuildFailed: a model or a test failed; nothing is published.
    """
    with outcome(settings, customer, "build", logical_date) as noted, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        attempt = releases.claim(run)
        state = as_of(run.lake, run.installation, logical_date)
        for role in sorted(run.roles):
            if not state.originals(role):
                raise MissingStep(
                    f"customer {customer}: nothing of role {role} is recorded on or before {logical_date}. "
                    f"Run `cradle ingest {customer} --date {logical_date}`."
                )
        noted.inputs = {role: state.digest(role) for role in sorted(run.roles)}
        written, tests = _dbt_build(settings, run, state)
        pins = {one.pin.table: one.pin for one in written.values()}
        moved = publish(run.lake, {t: p.snapshot_id for t, p in pins.items()}) if _newest(run) else []
        tables = {
            one.pin.table: BuiltTable(snapshot_id=one.pin.snapshot_id, rows=one.pin.rows, written=one.written)
            for one in written.values()
        }
        noted.counts = {"tables": len(tables), "written": sum(one.written for one in tables.values()), "tests": tests}
        noted.outputs = {"attempt": attempt, "rows": {table: one.rows for table, one in tables.items()}}
        return BuildResult(
            customer=customer,
            logical_date=logical_date,
            attempt=attempt,
            tables=tables,
            published=tuple(moved),
            tests=tests,
        )


def _newest(run: Run) -> bool:
    return releases.may_publish(run.lake, run.logical_date)


def _dbt_build(settings: Settings, run: Run, state: Any) -> tuple[dict[str, Any], int]:
    from dbt_project.plugins import lake as plugin

    if not selection(run):  # roles without models stay in raw
        return {}, 0
    current = plugin.Build(run, state)
    with _ONE_AT_A_TIME:
        plugin.CURRENT.append(current)
        try:
            result = _invoke(["build", "--select", *selection(run)], settings, run)
        finally:
            plugin.CURRENT.remove(current)
    _refuse_lost_servers(result, current.failed)
    _refuse_failures(result, run, settings)
    tests = sum(node.node.resource_type == "test" for node in result.result)
    return current.written, tests


def selection(run: Run) -> list[str]:
    """Return dbt's selectors for the models of the customer's roles."""
    return [f"tag:{role}" for role in names.MODELLED_ROLES if role in run.roles]


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
    return {"roles": roles}


def _invoke(arguments: list[str], settings: Settings, run: Run) -> Any:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    folder = work_folder(settings, run)
    DuckDBConnectionManager._ENV = None  # else the plugin of an earlier run in this process would answer
    options = ["--project-dir", str(FOLDER), "--profiles-dir", str(FOLDER), "--target-path", str(folder)]
    options += ["--log-path", str(folder), "--vars", json.dumps(variables(run)), "--no-use-colors", "--quiet"]
    return dbtRunner().invoke([*arguments, *options])


def work_folder(settings: Settings, run: Run) -> Path:
    """Return where dbt keeps its compiled SQL, log and docs of one customer and date."""
    folder = settings.work(run.customer.customer) / "dbt" / run.logical_date.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _refuse_lost_servers(result: Any, failed: Exception | None) -> None:
    """Raise what a server did as itself: it may be over soon, while a failed model or test is not."""
    if result.success:
        return
    if failed is not None and of_a_server(failed):
        raise failed
    told = [str(one.message) for one in result.result or () if str(one.status) == "error"]
    for message in told:
        if any(word in message for word in ("HTTP Error", "HTTP GET error", "Could not establish connection")):
            raise Unavailable(f"DuckDB lost the store: {message}. Run `cradle doctor`, then the same command again.")


def _refuse_failures(result: Any, run: Run, settings: Settings) -> None:
    if result.success:
        return
    if result.exception or result.result is None:
        raise BuildFailed(
            f"customer {run.customer.customer}: dbt could not run: {result.exception}"
        ) from result.exception
    lines = []
    for one in result.result:
        if str(one.status) in ("fail", "error"):
            compiled = getattr(one.node, "compiled_path", None) or one.node.original_file_path
            failures = f", {one.failures} rows" if one.failures else ""
            lines.append(f"  {one.node.name}: {one.status}{failures}: {one.message}\n    SQL: {compiled}")
            lines += [f"    row: {row}" for row in _failing_rows(one)]
    raise BuildFailed(
        f"customer {run.customer.customer}, {run.logical_date}: {len(lines)} model(s) or test(s) failed; nothing was "
        f"published.\n" + "\n".join(lines) + f"\nSee {work_folder(settings, run) / 'dbt.log'}."
    )


def _failing_rows(one: Any) -> list[dict[str, Any]]:
    """Return some rows that a test found, from the connection that dbt has just used."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager._ENV
    if one.node.resource_type != "test" or not one.failures or environment is None or environment.conn is None:
        return []
    found = environment.conn.cursor().execute(f"select * from ({one.node.compiled_code}) limit {FAILING_ROWS}")
    columns = [column[0] for column in found.description or []]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def docs(settings: Settings, customer: str, logical_date: date) -> Path:
    """Generate dbt's docs (models, columns, tests, lineage) and return the folder with `index.html`."""
    from dbt_project.plugins import lake as plugin

    run = open_run(settings, customer, logical_date)
    current = plugin.Build(run, as_of(open_lake(settings, customer), run.installation, logical_date))
    with _ONE_AT_A_TIME:
        plugin.CURRENT.append(current)
        try:
            result = _invoke(["docs", "generate", "--select", *selection(run)], settings, run)
        finally:
            plugin.CURRENT.remove(current)
    if not result.success:
        raise BuildFailed(f"customer {customer}: dbt docs failed: {result.exception}")
    return work_folder(settings, run)
