"""Commands that look after the nights without Airflow: reconcile, watch."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from cradle.cli.output import AsJson, console, emit, stderr, table
from cradle.cli.verbs import ready

PANEL = "Looking and running"
MISSING = 8
WAITING = 9


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (reconcile, watch):
        app.command(rich_help_panel=PANEL)(command)


def reconcile(
    customers: Annotated[
        list[str] | None, typer.Argument(metavar="[CUSTOMER]...", help="Customers; none: all.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How many days back.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Compare the nights that should have been with those that were. Example: cradle reconcile demo --days 7"""
    from cradle.customers import customer_names
    from cradle.reconcile import reconcile as compare

    found = ready()
    now = datetime.now(UTC)
    made = [compare(found, one, now, days=days) for one in customers or customer_names(found.customers)]
    if as_json:
        emit([one.model_dump(mode="json") for one in made], True, "", [])
    else:
        table("nights", ["customer", "nights", "findings"], [[m.customer, len(m.dates), len(m.findings)] for m in made])
        for one in (finding for each in made for finding in each.findings):
            console.print(f"\n[bold]{one.customer}[/bold] [red]{one.kind}[/red] ", end="")
            console.print(one.text, markup=False)
            console.print(f"  {one.run}", markup=False)
    if not all(one.ok for one in made):
        raise typer.Exit(MISSING)


def watch(
    once: Annotated[bool, typer.Option("--once", help="Look once and end, as cron and systemd want it.")] = False,
    every: Annotated[int, typer.Option(min=10, help="Seconds between two looks.")] = 300,
) -> None:
    """Alarm when a night's verified image is not there by its hour. Example: cradle watch --once"""
    from cradle.watch import watch as look

    found = ready()
    seen: set[tuple[str, date]] = set()
    while True:
        told = look(found, datetime.now(UTC), seen)
        for one in told.wrong:
            stderr.print(f"{one.customer}, {one.logical_date}: {one.what}", markup=False)
        if once:
            break
        time.sleep(every)
    if told.told.waiting:
        stderr.print(f"{told.told.waiting} messages wait for their channel. See `cradle alerts list`.", markup=False)
        raise typer.Exit(WAITING)
