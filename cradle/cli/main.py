"""Assembles the commands. Nothing heavy is imported before a command runs: `cradle --help` answers at once.

Run:  cradle --help
"""

from __future__ import annotations

import sys

import typer

from cradle.cli import alerts, backfill, customers, images, sources, state, tables, verbs, watching
from cradle.cli.output import fail
from cradle.config import quieten
from cradle.errors import EXIT_CODES, CradleError, Unavailable, of_a_server

EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."

app = typer.Typer(
    name="cradle",
    help="Customer lakehouse factory: every night one verified image per customer.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
verbs.register(app)
state.register(app)
tables.register(app)
sources.register(app)
images.register(app)
watching.register(app)
app.add_typer(customers.app, name="customers")
app.add_typer(alerts.app, name="alerts")
app.add_typer(backfill.app, name="backfill")


def run() -> None:
    """Run the command line; an error of the product ends with its message and its exit code."""
    quieten()
    try:
        app()
    except CradleError as error:
        _end(error)
    except Exception as error:
        if not of_a_server(error):
            raise
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        _end(Unavailable(f"{said}. Run `cradle doctor` to see which server is meant, then the same command again."))


def _end(error: CradleError) -> None:
    fail(error, as_json="--json" in sys.argv)
    sys.exit(error.exit_code)
