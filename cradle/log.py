"""Logging set-up, called by entry points only. Log lines go to standard error, one per event."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import structlog


def set_up(level: str = "INFO", json: bool = False) -> None:
    """Configure structlog once for this process."""
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        # A factory that looks the stream up late: test runners and Airflow replace sys.stderr.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> Any:
    """Return a logger bound to the module that speaks."""
    return _Speaker(structlog.get_logger(component=name))


class _Speaker:
    """A logger that says nothing while it is muted, however other libraries have configured structlog since."""

    muted = 0

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def __getattr__(self, name: str) -> Any:
        return _unsaid if _Speaker.muted else getattr(self.logger, name)


def _unsaid(*_: Any, **__: Any) -> None:
    """Take the place of a logger's methods."""


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Say nothing in this process meanwhile: what is only tried out must not look as if it had happened."""
    _Speaker.muted += 1
    try:
        yield
    finally:
        _Speaker.muted -= 1
