"""Lets dlt take its settings from nowhere but the environment.

By itself it looks for files in the folder in which a run begins, and asks Streamlit and Airflow for secrets: for that
it imports them, which takes longer than loading a small delivery.
"""

from __future__ import annotations

from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.runtime.run_context import RunContext


class _Alone(RunContext):
    def initial_providers(self) -> list[ConfigProvider]:
        return [EnvironProvider()]


def leave_alone() -> None:
    """Make this process' dlt ask for nothing; Airflow is left out by `cradle.config.quieten`."""
    container = Container()
    if PluggableRunContext not in container or not isinstance(container[PluggableRunContext].context, _Alone):
        container[PluggableRunContext] = PluggableRunContext(_Alone(None))
