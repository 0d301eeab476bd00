"""The task group `build` for customers who want a task per dbt model: Cosmos draws the graph and runs dbt.

Flow: begin → each model, then its tests → publish
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from airflow.sdk import TaskGroup, task
from airflow.sdk.exceptions import AirflowSkipException
from night_defaults import TASK
from night_run import call, run_settings
from night_turn import wait_for_turn

from cradle import names
from cradle.config import PROJECT
from cradle.customers import Customer

FOLDER = PROJECT / "dbt_project"
MODELS = "dbt_project.plugins.models"  # imported inside the tasks only


@task(**TASK, pool="services", doc_md="Begin an attempt at this date; a task of an older attempt stops.")
def begin(name: str) -> dict[str, Any]:
    """Begin an attempt."""
    wait_for_turn(name)
    return call(name, f"{MODELS}:begin_build")


@task(**TASK, pool="services", doc_md="Show readers what was built and tested, all tables at once.")
def publish(begun: dict[str, Any]) -> dict[str, Any]:
    """Move `main` to what the tasks before have built and tested."""
    return import_module(MODELS).publish_build(run_settings(), begun).model_dump(mode="json")


def before(context: Any, operator: Any) -> None:
    """Tell Cosmos' operator the parameters of this date, and our plugin what it is to show."""
    begun = context["ti"].xcom_pull(task_ids="build.begin")
    if not import_module(MODELS).before(run_settings(), operator, operator.extra_context["dbt_node_config"], begun):
        raise AirflowSkipException("the parameters of this date know no such role")


def heard(event: Any) -> None:
    """Keep what dbt says of errors."""
    import_module(MODELS).heard(event)


@cache
def cosmos() -> dict[str, Any]:
    """Return what is the same for all customers; Cosmos is imported only for those who want it."""
    from cosmos import ExecutionConfig, ExecutionMode, InvocationMode, ProfileConfig, ProjectConfig

    hooks = {"interceptors": [before], "dbt_runner_callbacks": [heard], "callback": f"{MODELS}.after"}
    manifest, profiles = FOLDER / "dbt_manifest.json", FOLDER / "profiles.yml"
    return {
        "project_config": ProjectConfig(FOLDER, manifest_path=manifest, install_dbt_deps=False),
        "profile_config": ProfileConfig("cradle", "lake", profiles_yml_filepath=profiles),
        "execution_config": ExecutionConfig(ExecutionMode.LOCAL, InvocationMode.DBT_RUNNER),
        "operator_args": {"install_deps": False, "doc_md": "Run dbt for one model, or for its tests.", **TASK, **hooks},
    }


def dbt_tasks(customer: Customer) -> tuple[TaskGroup, Any]:
    """Add the task group to the DAG that is being defined; return it, and its last task, which knows the attempt."""
    from cosmos import DbtTaskGroup, LoadMode, RenderConfig

    roles = {source.role for source in customer.installation.sources} & set(names.MODELLED_ROLES)
    render = RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=[f"tag:{role}" for role in sorted(roles)])
    render.emit_datasets, render.should_detach_multiple_parents_tests = False, True
    group = DbtTaskGroup("build", render_config=render, **cosmos()) if roles else TaskGroup("build")
    with group:
        roots, leaves = list(group.roots), list(group.leaves)
        first = begin(customer.customer)
        last = publish(first)
    first >> roots
    leaves >> last
    return group, last
