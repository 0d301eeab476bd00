"""What a task knows of the run that it belongs to: its date, its settings, its sources."""

from __future__ import annotations

from datetime import date
from importlib import import_module
from typing import Any

from airflow.sdk import get_current_context

from cradle.config import Settings, settings
from cradle.customers import load_customer, night_date
from cradle.errors import EpochRefused


def day_of(name: str) -> date:
    """Return the logical date of this run."""
    return date_of(name, get_current_context()["dag_run"])


def date_of(name: str, run: Any) -> date:
    """Return the logical date of a run."""
    return night_date(load_customer(settings().customers, name), run.logical_date, run.run_after)


def run_settings() -> Settings:
    """Return the settings with what the form of this run says."""
    params = get_current_context()["params"]
    epoch = int(params["epoch"]) if params["epoch"] else None
    return settings().model_copy(update={"epoch": epoch, "full_refresh": params["full_refresh"]})


def in_terminal(run: Any) -> bool:
    """Tell whether a run is one of `cradle night`: all of it lives in one process, and no scheduler knows it."""
    return bool((run.conf or {}).get("terminal"))


def sources_of(name: str) -> list[str]:
    """Return what to ingest: the sources of the date's epoch, but for those that the form offered and nobody chose."""
    from cradle.catalog.run import open_run

    offered = load_customer(settings().customers, name).installation
    left_out = {source.name for source in offered.sources} - set(get_current_context()["params"]["sources"])
    try:
        installation = open_run(run_settings(), name, day_of(name)).installation
    except EpochRefused:
        installation = offered  # ingest is refused as well, and leaves an outcome that says why
    return [source.name for source in installation.sources if source.name not in left_out]


def call(name: str, path: str, **options: Any) -> dict[str, Any]:
    """Call a verb for a customer and the logical date of this run, with what its form says."""
    module, function = path.split(":")
    made = getattr(import_module(module), function)(run_settings(), name, day_of(name), **options)
    return made.model_dump(mode="json")
