"""The command line: parse, call one function, print through one place."""

from cradle.cli.main import app, run

__all__ = ["app", "run"]
