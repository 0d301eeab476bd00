"""The verb `build`: raw → staging → marts on the branch of the date, tested there, then published.

One call does it all; a night that shows each layer calls it once for each.

Flow: raw.<role> as of the date → dbt build (models and tests) → main of the marts
Run:  cradle build demo
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import names, releases
from cradle.catalog import Pin, Written, properties, publish, resolve
from cradle.catalog.deliveries import AsOf, as_of
from cradle.catalog.run import Run, open_run, run_lock
from cradle.config import Settings
from cradle.errors import Fenced, MissingStep
from cradle.outcomes import outcome
from dbt_project.plugins.current import Build
from dbt_project.plugins.invoke import run_dbt
from dbt_project.plugins.known import build_key, recall, remember

BUILDABLE = ["--indirect-selection", "buildable"]  # no test of a layer that this call does not build


class BuiltTable(BaseModel):
    """One model's table after the build."""

    model_config = ConfigDict(frozen=True)

    snapshot_id: int
    rows: int
    written: bool

    @classmethod
    def of(cls, one: Written) -> BuiltTable:
        """Describe what storing a model did."""
        return cls(snapshot_id=one.pin.snapshot_id, rows=one.pin.rows, written=one.written)


class BuildResult(BaseModel):
    """What a run of `build` did; of one layer, or of all."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    layer: names.BuildLayer | None
    attempt: int
    tables: dict[str, BuiltTable]
    published: tuple[str, ...]
    tests: int

    def counts(self) -> dict[str, int]:
        """Return what the outcome of the verb counts."""
        written = sum(one.written for one in self.tables.values())
        return {"tables": len(self.tables), "written": written, "tests": self.tests}

    def outputs(self) -> dict[str, Any]:
        """Return what the outcome of the verb names."""
        return {"attempt": self.attempt, "rows": {table: one.rows for table, one in self.tables.items()}}


def build(
    settings: Settings,
    customer: str,
    logical_date: date,
    layer: names.BuildLayer | None = None,
    attempt: int | None = None,
) -> BuildResult:
    """Build and test every model of the customer's roles, then move `main` unless the date is an old one.

    Args:
        layer: build `staging` and begin a new attempt, or build `marts` on the staging tables of the date and end
            the attempt; none: all at once.
        attempt: the attempt that `marts` belongs to; none: the newest.

    Raises:
        MissingStep: nothing was ingested for the date, or `marts` finds no staging made from what is in force.
        BuildFailed: a model or a test failed; nothing is published.
        Fenced: a newer attempt has begun.
    """
    with outcome(settings, customer, "build", logical_date) as noted, run_lock(settings, customer):
        run = open_run(settings, customer, logical_date)
        claimed = same_attempt(run, attempt) if layer == "marts" else releases.claim(run)
        state = delivered(run)
        noted.inputs = {role: state.digest(role) for role in sorted(run.roles)} | ({"layer": layer} if layer else {})
        current = Build(run, state, staged(run, state) if layer == "marts" else {})
        tests = _tested(settings, current, layer)
        ends = layer != "staging" and releases.may_publish(run.lake, logical_date)
        moved = publish(run.lake, {pin.table: pin.snapshot_id for pin in current.pins().values()}) if ends else []
        result = BuildResult(
            customer=customer,
            logical_date=logical_date,
            layer=layer,
            attempt=claimed,
            tables={one.pin.table: BuiltTable.of(one) for one in current.written.values()},
            published=tuple(moved),
            tests=tests,
        )
        noted.counts, noted.outputs = result.counts(), result.outputs()
        return result


def same_attempt(run: Run, attempt: int | None) -> int:
    """Return the attempt that a later piece of a build belongs to; none: the newest.

    Raises:
        MissingStep: none has begun.
        Fenced: a newer one has.
    """
    newest = releases.newest_attempt(run.lake, run.logical_date)
    if newest == 0:
        raise _unstaged(run, f"nothing was built for {run.logical_date}")
    if attempt is not None and attempt < newest:
        raise Fenced(
            f"customer {run.customer.customer}: attempt {attempt} of {run.logical_date} was overtaken by attempt "
            f"{newest} and builds nothing. See `cradle status {run.customer.customer}`."
        )
    return newest


def delivered(run: Run) -> AsOf:
    """Return what is in force as of the date.

    Raises:
        MissingStep: nothing of a role is.
    """
    state, customer = as_of(run.lake, run.installation, run.logical_date), run.customer.customer
    for role in sorted(run.roles):
        if not state.originals(role):
            raise MissingStep(
                f"customer {customer}: nothing of role {role} is recorded on or before {run.logical_date}. "
                f"Run `cradle ingest {customer} --date {run.logical_date}`."
            )
    return state


def staged(run: Run, state: AsOf) -> dict[str, Pin]:
    """Return model → pin of the staging tables of the date.

    Raises:
        MissingStep: one was not made, or was made from what is no longer in force.
    """
    found = {}
    for role, model in names.STAGING_MODELS.items():
        if role not in run.roles:
            continue
        table = names.table("staging", model)
        pin = resolve(run.lake, table, run.branch)
        if pin is None:
            raise _unstaged(run, f"{table} was not made for {run.logical_date}")
        made_from = json.loads(properties(run.lake, pin).get("cradle.inputs", "{}"))
        if made_from.get(names.table("raw", role)) != state.digest(role):
            raise _unstaged(run, f"{table} of {run.logical_date} was made from another state of raw.{role}")
        found[model] = pin
    return found


def _unstaged(run: Run, what: str) -> MissingStep:
    name = run.customer.customer
    return MissingStep(
        f"customer {name}: {what}. Run `cradle build {name} --layer staging --date {run.logical_date}`, "
        f"or without `--layer` for all."
    )


def _tested(settings: Settings, current: Build, layer: names.BuildLayer | None) -> int:
    """Build and test, unless a build of the same inputs and models passed before; return how many tests passed."""
    key = build_key(current, layer)
    known = None if settings.full_refresh else recall(current, key)
    if known is not None:
        return known
    tests = _dbt_build(settings, current, layer)
    remember(current, key, tests)
    return tests


def _dbt_build(settings: Settings, current: Build, layer: names.BuildLayer | None) -> int:
    """Build and test the models of a layer; return how many tests passed."""
    wanted = selection(current.run, layer)
    if not wanted:  # roles without models stay in raw
        return 0
    ran = run_dbt(["build", "--select", *wanted, *BUILDABLE], settings, current)
    return sum(one.kind == "test" for one in ran)


def selection(run: Run, layer: names.BuildLayer | None = None) -> list[str]:
    """Return dbt's selectors for the models of the customer's roles, of one layer or of all."""
    if layer is None:
        return [f"tag:{role}" for role in names.MODELLED_ROLES if role in run.roles]
    roles = names.STAGING_MODELS if layer == "staging" else names.MODELLED_ROLES
    return [
        f"tag:{role},config.schema:{schema}"
        for role in roles
        if role in run.roles
        for schema in names.BUILD_LAYERS[layer]
    ]


def tables_of(run: Run) -> dict[str, str]:
    """Return model → table of what dbt makes of the customer's roles."""
    made = [names.table("staging", model) for role, model in names.STAGING_MODELS.items() if role in run.roles]
    made += [table for table in names.release_tables(run.roles) if not table.endswith("_chunks")]
    return {table.split(".")[1]: table for table in made}
