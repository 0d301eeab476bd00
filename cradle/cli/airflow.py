"""The embedded Airflow: its environment and its database.

Flow: settings → AIRFLOW_* variables → airflow.db, made once per version
Run:  python -m cradle.cli.airflow (makes the pools of an Airflow with a database of its own)
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from cradle import names
from cradle.airflow_environment import set_airflow_environment
from cradle.config import Settings
from cradle.errors import ConfigError

STAMP = "database.version"


def prepare_airflow(settings: Settings) -> None:
    """Set the environment and make the database when it is not there or of another version; then Airflow may be used.

    Raises:
        ConfigError: this process has imported Airflow with another home already.
    """
    home = settings.airflow()
    if "airflow.configuration" in sys.modules:
        from airflow.configuration import AIRFLOW_HOME

        if str(home) != AIRFLOW_HOME:
            raise ConfigError(
                f"Airflow was imported with AIRFLOW_HOME={AIRFLOW_HOME}; this night needs {home}. Use a new process."
            )
    home.mkdir(parents=True, exist_ok=True)
    set_airflow_environment(settings)
    if settings.airflow_home is not None or database_ready(settings):
        return
    from airflow.utils.db import initdb

    initdb()
    make_pools()
    (home / STAMP).write_text(_stamp(), encoding="utf-8")


def database_ready(settings: Settings) -> bool:
    """Tell whether the database was made by the installed version; Airflow is not imported for it."""
    stamp = settings.airflow() / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp()


def _stamp() -> str:
    return f"{version('apache-airflow')} {' '.join(names.POOLS)}"


def make_pools() -> None:
    """Make the pools that the tasks name; one that is there keeps the slots that someone gave it."""
    from airflow.models.pool import Pool

    have = {pool.pool for pool in Pool.get_pools()}
    for name, slots in names.POOLS.items():
        if name not in have:
            Pool.create_or_update_pool(name, slots=slots, description="Made by Cradle.", include_deferred=False)


def end_dead_runs(dag_id: str) -> None:
    """Mark runs whose process was killed as failed, else a scheduler that starts later would take them up."""
    from airflow.models.dagrun import DagRun

    _update(dag_id, [DagRun.state == "running"], {"state": "failed", "end_date": datetime.now(UTC)})


def tell_times(dag_id: str, began: datetime, interval: tuple[datetime, datetime]) -> None:
    """Give the run since `began` its true begin and data interval; `dag.test` takes both from the logical date."""
    from airflow.models.dagrun import DagRun

    start, end = (moment.astimezone(UTC) for moment in interval)
    values: dict[str, Any] = {"start_date": began, "data_interval_start": start, "data_interval_end": end}
    values["triggering_user_name"] = "cradle night"
    _update(dag_id, [DagRun.run_after >= began], values)


def _update(dag_id: str, where: list[Any], values: dict[str, Any]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    mine = [DagRun.dag_id == dag_id, DagRun.triggering_user_name == "dag_test"]
    with create_session() as session:
        session.execute(update(DagRun).where(*mine, *where).values(**values))


if __name__ == "__main__":
    make_pools()
