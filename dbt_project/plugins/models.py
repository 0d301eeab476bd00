"""A build in which every dbt model, and the tests of each, are tasks of their own; Cosmos runs dbt for them.

Flow: begin_build → for each model and its tests: before → dbt → after → publish_build
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import outcomes, releases
from cradle.catalog import Pin, publish, resolve
from cradle.catalog.deliveries import as_of
from cradle.catalog.run import Run, open_run, run_lock
from cradle.config import Settings
from cradle.errors import MissingStep
from cradle.outcomes import Outcome, outcome
from dbt_project.plugins.build import BuildResult, BuiltTable, delivered, same_attempt, staged, tables_of
from dbt_project.plugins.current import Build
from dbt_project.plugins.invoke import could_not_run, refuse, results, showing, variables, work_folder


class Begun(BaseModel):
    """An attempt that tasks of single models belong to."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    attempt: int


@dataclass
class UnderWay:
    """A task whose dbt runs now, in this process; `after` closes what `before` opened."""

    settings: Settings
    current: Build
    noted: Outcome
    opened: contextlib.ExitStack
    heard: list[str] = field(default_factory=list)


UNDER_WAY: list[UnderWay] = []  # Cosmos hands nothing from the one hook to the other


def begin_build(settings: Settings, customer: str, logical_date: date) -> Begun:
    """Begin an attempt at a date.

    Raises:
        MissingStep: nothing was ingested for the date.
    """
    with outcome(settings, customer, "build", logical_date) as noted, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        attempt = releases.claim(run)
        state = delivered(run)
        noted.inputs = {role: state.digest(role) for role in sorted(run.roles)}
        noted.outputs = {"attempt": attempt}
        return Begun(customer=customer, logical_date=logical_date, attempt=attempt)


def before(settings: Settings, operator: Any, node: dict[str, Any], begun: Begun | dict[str, Any]) -> bool:
    """Prepare this process and Cosmos' operator for one node; False: this date's epoch has no such role.

    Args:
        node: what the task runs, as Cosmos describes it: a model, or a test of several models.
        begun: what `begin_build` returned, or its JSON.

    Raises:
        MissingStep: a model that it reads was not built for the date.
        Fenced: a newer attempt has begun.
    """
    begun = Begun.model_validate(begun)
    customer, day, command = begun.customer, begun.logical_date, operator.base_cmd[0]
    with contextlib.ExitStack() as stack:
        noted = stack.enter_context(outcome(settings, customer, "build", day))
        noted.inputs = {"attempt": begun.attempt, command: node["resource_name"].split(".")[0]}
        run = open_run(settings, customer, day)
        if not run.roles & set(node["tags"]):
            return False
        same_attempt(run, begun.attempt)
        state = as_of(run.lake, run.installation, day)
        whole = [node["unique_id"]] if command == "test" and node["resource_type"] == "model" else node["depends_on"]
        current = Build(run, state, {pin.table.split(".")[1]: pin for pin in _standing(run, whole)})
        stack.enter_context(showing(current))
        operator.vars = variables(run)
        operator.dbt_cmd_flags = ["--log-path", str(work_folder(settings, run)), "--no-use-colors"]
        UNDER_WAY.append(UnderWay(settings, current, noted, stack.pop_all()))
    return True


def heard(event: Any) -> None:
    """Keep what dbt says of an error: it may come before there is any model to blame."""
    if UNDER_WAY and event.info.level == "error":
        UNDER_WAY[-1].heard.append(event.info.msg)


def after(folder: str, **_: Any) -> None:
    """Note what dbt did, in the folder in which Cosmos ran it.

    Raises:
        Unavailable, BuildFailed: see `refuse`.
    """
    task = UNDER_WAY.pop()
    with task.opened:
        target = Path(folder) / "target"
        ran = results(target)
        refuse(ran, task.settings, task.current, target)
        if not ran:
            raise could_not_run(task.current.run, " ".join(task.heard) or "it says nothing")
        tables = {one.pin.table: one.written for one in task.current.written.values()}
        tests = sum(one.kind == "test" for one in ran)
        task.noted.counts = {"tables": len(tables), "written": sum(tables.values()), "tests": tests}
        task.noted.outputs = {"written": tables}


def publish_build(settings: Settings, begun: Begun | dict[str, Any]) -> BuildResult:
    """Move `main` to what the tasks of an attempt built and tested, unless the date is an old one.

    Args:
        begun: what `begin_build` returned, or its JSON.

    Raises:
        MissingStep: a table was not built for the date, or from another state of what it reads.
        Fenced: a newer attempt has begun.
    """
    begun = Begun.model_validate(begun)
    customer, logical_date, attempt = begun.customer, begun.logical_date, begun.attempt
    with outcome(settings, customer, "build", logical_date) as noted, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        noted.inputs = {"attempt": same_attempt(run, attempt)}
        staged(run, delivered(run))
        pins = {table: need(run, table) for table in tables_of(run).values()}
        for table, pin in pins.items():
            releases.refuse_stale(run, table, pin, pins)
        newest = releases.may_publish(run.lake, logical_date)
        moved = publish(run.lake, {table: pin.snapshot_id for table, pin in pins.items()}) if newest else []
        written, tests = _done(settings, run, attempt)
        tables = {
            table: BuiltTable(snapshot_id=pin.snapshot_id, rows=pin.rows, written=table in written)
            for table, pin in pins.items()
        }
        result = BuildResult(
            customer=customer,
            logical_date=logical_date,
            layer=None,
            attempt=attempt,
            tables=tables,
            published=tuple(moved),
            tests=tests,
        )
        noted.counts, noted.outputs = result.counts(), result.outputs()
        return result


def _standing(run: Run, nodes: list[str]) -> list[Pin]:
    """Return the pins of models, of which the dbt manifest's ids are known; those of rejects stand in one table."""
    wanted = {one.split(".")[2] for one in nodes if one.startswith("model.")}
    return [need(run, table) for model, table in tables_of(run).items() if model in wanted]


def need(run: Run, table: str) -> Pin:
    """Return the pin of a table on the branch of the run's date.

    Raises:
        MissingStep: it was not built for this date.
    """
    pin = resolve(run.lake, table, run.branch)
    if pin is None:
        raise MissingStep(
            f"customer {run.customer.customer}: {table} was not built for {run.logical_date}. Clear the task of that "
            f"model, or run `cradle build {run.customer.customer} --date {run.logical_date}`."
        )
    return pin


def _done(settings: Settings, run: Run, attempt: int) -> tuple[set[str], int]:
    """Return the tables that an attempt's tasks wrote, and how many tests passed, by their outcomes."""
    written, tests = set(), {}
    for one in outcomes.attempts(settings, run.customer.customer, run.logical_date):
        if one["verb"] == "build" and one["ok"] and one["inputs"].get("attempt") == attempt:
            written |= {table for table, new in one["outputs"].get("written", {}).items() if new}
            tests[one["inputs"].get("test")] = one["counts"].get("tests", 0)
    return written, sum(tests.values())
