"""How fresh what was delivered is: dbt's source freshness over the raw tables of the lake.

A role is as fresh as the logical date of its newest delivery in force: loading an old file again makes nothing fresh.

Run:  cradle freshness demo
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cradle import names
from cradle.catalog.deliveries import as_of
from cradle.catalog.run import open_run
from cradle.config import Settings
from cradle.outcomes import outcome
from dbt_project.plugins.current import Build
from dbt_project.plugins.invoke import SOURCES, could_not_run, invoke


class RoleFreshness(BaseModel):
    """The newest delivery of a role, and whether it is old; without a delivery it is in error."""

    model_config = ConfigDict(frozen=True)

    role: str
    last_delivery: date | None
    age_days: float | None
    state: Literal["pass", "warn", "error"]


class FreshnessResult(BaseModel):
    """How fresh each role is."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    roles: tuple[RoleFreshness, ...]


def freshness(settings: Settings, customer: str, logical_date: date) -> FreshnessResult:
    """Compare the age of what is in force as of a date with the limits of the customer's YAML.

    Raises:
        BuildFailed: dbt could not run.
    """
    with outcome(settings, customer, "freshness", logical_date) as noted:
        run = open_run(settings, customer, logical_date)
        current = Build(run, as_of(run.lake, run.installation, logical_date))
        wanted = [f"source:raw.{role}" for role in names.MODELLED_ROLES if role in run.roles]
        found: list[RoleFreshness] = []
        if wanted:
            result, folder = invoke(["source", "freshness", "--select", *wanted], settings, current)
            if not (folder / SOURCES).is_file():
                raise could_not_run(run, str(result.exception)) from result.exception
            told = json.loads((folder / SOURCES).read_text(encoding="utf-8"))["results"]
            found = [_role(one, current) for one in told]
        result = FreshnessResult(customer=customer, logical_date=logical_date, roles=tuple(found))
        noted.counts = {state: sum(one.state == state for one in found) for state in ("pass", "warn", "error")}
        noted.outputs = {one.role: one.model_dump(mode="json", exclude={"role"}) for one in found}
        return result


def _role(told: dict[str, object], current: Build) -> RoleFreshness:
    role = str(told["unique_id"]).split(".")[-1]
    if not current.state.originals(role) or told["status"] == "runtime error":
        return RoleFreshness(role=role, last_delivery=None, age_days=None, state="error")
    last = datetime.fromisoformat(str(told["max_loaded_at"])).date()
    days = round(float(str(told["max_loaded_at_time_ago_in_s"])) / 86_400, 1)
    return RoleFreshness(role=role, last_delivery=last, age_days=days, state=told["status"])
