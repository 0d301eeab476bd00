"""Logging set-up, called by entry points only. Log lines go to standard error, one per event."""

from __future__ import annotations

import logging
import sys
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
    return structlog.get_logger(component=name)
