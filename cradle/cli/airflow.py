"""The embedded Airflow: its environment and its database.

Flow: settings → AIRFLOW_* variables → airflow.db, made once per version
"""

from __future__ import annotations

import sys

from cradle.config import Settings, set_airflow_environment
from cradle.errors import ConfigError


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
    import airflow

    stamp = home / "database.version"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == airflow.__version__:
        return
    from airflow.utils.db import initdb

    initdb()
    stamp.write_text(airflow.__version__, encoding="utf-8")
