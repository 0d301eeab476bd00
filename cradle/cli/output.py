"""The only place of the command line that prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cradle.errors import CradleError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Date = Annotated[
    str | None,
    typer.Option("--date", help="Logical date, YYYY-MM-DD; none: the night under way.", metavar="DATE"),
]
CustomerName = Annotated[str, typer.Argument(help="Name of the customer's YAML file.", metavar="CUSTOMER")]

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def emit(content: Any, as_json: bool, title: str, rows: Iterable[tuple[str, Any]]) -> None:
    """Print a result: as JSON, or as a titled list of facts."""
    if as_json:
        console.file.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
        return
    console.print(f"[bold]{title}[/bold]")
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", shown(value))
    console.print(table)


def table(title: str, columns: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table; numbers stand at the right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, padding=(0, 2))
    lines = [list(row) for row in rows]
    for at, column in enumerate(columns):
        numeric = bool(lines) and all(isinstance(line[at], int | float) for line in lines)
        made.add_column(column, justify="right" if numeric else "left")
    for line in lines:
        made.add_row(*(shown(value) for value in line))
    console.print(made)


def shown(value: Any) -> str:
    """Return a value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return "–" if value is None else str(value)


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / 1_000_000:,.1f} MB" if count >= 100_000 else f"{count / 1_000:,.1f} kB"


def fail(error: CradleError, as_json: bool) -> None:
    """Print an error; as JSON on standard output when a program asked for JSON."""
    if as_json:
        content = {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        console.file.write(json.dumps({"error": content}, ensure_ascii=False) + "\n")
    else:
        stderr.print(f"[bold red]{type(error).__name__}[/bold red]", end=" ")
        stderr.print(str(error), markup=False)
