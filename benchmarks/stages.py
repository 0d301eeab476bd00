"""Which stages can be measured, and in which module each is."""

from __future__ import annotations

import importlib
import importlib.util

from benchmarks.stage import Stage

IN_ORDER = ("ingest", "marts", "embed", "index", "search", "bake", "night")
MODULES = tuple(one for one in IN_ORDER if importlib.util.find_spec(f"benchmarks.{one}"))


def all_stages() -> dict[str, Stage]:
    """Return name → stage, in the order of a night."""
    found: dict[str, Stage] = {}
    for module in MODULES:
        for stage in importlib.import_module(f"benchmarks.{module}").STAGES:
            found[stage.name] = stage
    return found


def stage_named(name: str) -> Stage:
    """Return one stage; only the modules before it are imported.

    Raises:
        KeyError: there is none of this name.
    """
    for module in sorted(MODULES, key=lambda one: not name.startswith(one)):
        for stage in importlib.import_module(f"benchmarks.{module}").STAGES:
            if stage.name == name:
                return stage
    raise KeyError(name)
