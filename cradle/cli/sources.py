"""Commands on what dbt knows of a customer: its docs, and how fresh what was delivered is."""

from __future__ import annotations

import typer

from cradle.cli.output import AsJson, CustomerName, Date, emit, table
from cradle.cli.verbs import day, ready

PANEL = "Looking and running"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (docs, freshness):
        app.command(rich_help_panel=PANEL)(command)


def docs(customer: CustomerName, when: Date = None, as_json: AsJson = False) -> None:
    """Write dbt's docs: models, columns, tests, lineage. Example: cradle docs demo"""
    from dbt_project.plugins.docs import docs as verb

    found = ready()
    result = verb(found, customer, day(found, customer, when))
    facts = [("models", result.models), ("open", result.folder / "index.html")]
    emit(result.model_dump(mode="json"), as_json, f"{customer}: dbt docs {result.logical_date}", facts)


def freshness(customer: CustomerName, as_json: AsJson = False) -> None:
    """Tell how old the newest delivery of each role is. Example: cradle freshness demo"""
    from dbt_project.plugins.freshness import freshness as verb

    found = ready()
    result = verb(found, customer, day(found, customer, None))
    if as_json:
        emit(result.model_dump(mode="json"), True, "", [])
        return
    rows = [[one.role, one.last_delivery, one.age_days, one.state] for one in result.roles]
    table(f"{customer}: how fresh", ["role", "last delivery", "days ago", "state"], rows)
