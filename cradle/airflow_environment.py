"""The variables under which Airflow runs; nothing is read from the environment here, and nothing set."""

from __future__ import annotations

import json

from cradle.config import PROJECT, QUIET, Settings, set_environment


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Return the variables under which the embedded Airflow runs (SQLite, LocalExecutor, our DAGs only).

    An Airflow with a home of its own is set up by whoever runs it: nothing of it is changed here.
    """
    home = settings.airflow()
    if settings.airflow_home is not None:
        return {**QUIET, "AIRFLOW_HOME": str(home)}
    return {
        **QUIET,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "dags" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(max(settings.threads, 2)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        **lineage_environment(settings),
        **cosmos_environment(settings),
        "CRADLE_HOME": str(settings.home),
        "CRADLE_CUSTOMERS": str(settings.customers),
        "CRADLE_ENVIRONMENT": settings.environment,
    }


def cosmos_environment(settings: Settings) -> dict[str, str]:
    """Return Cosmos' variables for Airflow: docs in its menu, its cache below the home, no version without a change."""
    projects = {
        f"{page.parent.parent.name}_{page.parent.name}": {
            "dir": str(page.parent),
            "name": f"dbt docs: {page.parent.parent.name}, {page.parent.name}",
        }
        for page in sorted((settings.home / "docs").glob("*/*/index.html"))
    }
    return {
        "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(projects),
        "AIRFLOW__COSMOS__CACHE_DIR": str(settings.airflow() / "cosmos"),
        "AIRFLOW__COSMOS__PROJECT_HASH_EXCLUDED_DIRS": "__pycache__",
    }


def lineage_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of Airflow's OpenLineage provider; no source code is sent."""
    if settings.lineage == "off":
        return {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}
    file = {"type": "file", "log_file_path": str(settings.airflow() / "lineage.jsonl"), "append": True}
    transport = file if settings.lineage == "file" else {"type": "http", "url": settings.lineage}
    return {
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "cradle",
        "AIRFLOW__OPENLINEAGE__EMISSION_POLICY": json.dumps(
            [{"scope": {}, "controls": {"include_source_code": False}}]
        ),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
    }


def set_airflow_environment(settings: Settings) -> None:
    """Apply `airflow_environment` to this process; must come before the first import of Airflow."""
    set_environment(airflow_environment(settings))
