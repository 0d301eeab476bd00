"""What Airflow calls when a night has not ended within its hours; on the path of every part, as all plugins are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cradle.config import settings
from cradle.customers import load_customer, night_date


def tell_late(context: dict[str, Any]) -> None:
    """Tell that a run goes on for longer than it should."""
    from cradle import alerts

    run = context["dag_run"]
    if run["run_type"] == "backfill":  # the days of a backfill wait for each other, and nobody for them
        return
    name, moments = run["dag_id"].removeprefix("night_"), []
    for field in ("logical_date", "run_after"):
        value = run[field]
        moments.append(datetime.fromisoformat(value) if isinstance(value, str) else value)
    day = night_date(load_customer(settings().customers, name), *moments)
    alerts.deadline_missed(settings(), name, day, run_id=run["dag_run_id"], dag_id=run["dag_id"])
