"""Commands about backfills."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from cradle.cli.output import AsJson, CustomerName, console, emit, stderr
from cradle.cli.verbs import ready
from cradle.errors import ConfigError

app = typer.Typer(help="Look at what a backfill would change.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at what a backfill would change."""


@app.command()
def preview(
    customer: CustomerName,
    first: Annotated[str, typer.Option("--from", help="First logical date, YYYY-MM-DD.", metavar="DATE")],
    last: Annotated[str, typer.Option("--to", help="Last logical date, YYYY-MM-DD.", metavar="DATE")],
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be given again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compute what a backfill would change, and change nothing.

    Example: cradle backfill preview demo --from 2024-03-01 --to 2024-03-07
    """
    from cradle.backfill import as_text
    from cradle.backfill import preview as compute
    from cradle.backfill.text import day_line

    found, days = ready(), (_day("--from", first), _day("--to", last))
    told = compute(
        found,
        customer,
        *days,
        source or None,
        None if as_json else lambda day: stderr.print(day_line(day), markup=False),
    )
    if as_json:
        emit(told.model_dump(mode="json"), True, "", [])
    else:
        console.print("\n" + as_text(told), markup=False, soft_wrap=True)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} {text!r} is not a date. Write it as YYYY-MM-DD, for example 2024-03-01."
        ) from error
