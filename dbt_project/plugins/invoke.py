"""Runs dbt in this process for one customer and date, and says what failed as errors of the product."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from cradle import names
from cradle.catalog.run import Run
from cradle.config import PROJECT, Settings
from cradle.errors import BuildFailed, Unavailable, of_a_server

FOLDER = PROJECT / "dbt_project"
FAILING_ROWS = 3  # shown of a failed test
_ONE_AT_A_TIME = threading.Lock()  # dbt keeps its connection in a class attribute


def run_dbt(arguments: list[str], settings: Settings, current: Any) -> Any:
    """Run one dbt command over what the plugin's `Build` shows and stores, and return dbt's result.

    Raises:
        Unavailable: a server was lost; dbt itself keeps only the text of it.
        BuildFailed: dbt could not run, or a model or test failed.
    """
    from dbt_project.plugins import lake as plugin

    with _ONE_AT_A_TIME:
        plugin.CURRENT.append(current)
        try:
            result = _invoke(arguments, settings, current.run)
        finally:
            plugin.CURRENT.remove(current)
    _refuse_lost_servers(result, current.failed)
    _refuse_failures(result, current.run, settings)
    return result


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
