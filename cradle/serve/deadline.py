"""A limit on the seconds that one call of DuckDB may take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from cradle.errors import CradleError, Unavailable

AGAIN: Final = 0.05  # seconds; an interrupt that comes before the query begins has no effect


class TooSlow(CradleError):
    """A query took longer than it may."""


@contextmanager
def within(con: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what runs on a connection when the time is over.

    Raises:
        TooSlow: it was interrupted.
        Unavailable: DuckDB's memory is used up.
    """
    done = threading.Event()

    def watch() -> None:
        if not done.wait(seconds):
            con.interrupt()
            while not done.wait(AGAIN):
                con.interrupt()

    watcher = threading.Thread(target=watch, name="deadline", daemon=True)
    watcher.start()
    try:
        yield
    except Exception as error:
        # Arrow hands DuckDB's errors on as its own, so that their text must tell.
        text = str(error).lower()
        if isinstance(error, duckdb.InterruptException) or "interrupt error" in text:
            told = f"the query took more than the {seconds:g} s that are allowed."
            raise TooSlow(f"{told} Ask for fewer rows or columns, or filter.") from error
        if isinstance(error, duckdb.OutOfMemoryException) or "out of memory error" in text:
            raise Unavailable(
                "the memory for queries is used up. Ask for fewer rows or columns, or try again when less is asked."
            ) from error
        raise
    finally:
        done.set()
        watcher.join()
