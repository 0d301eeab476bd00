"""The only reader of the environment.

Every setting is a variable `CRADLE_<NAME>`; an unknown one is refused, so that a typo can't pass unseen.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cradle.errors import ConfigError

PREFIX = "CRADLE_"
PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where things are and how much they may use. Frozen; paths are absolute."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(default=PROJECT / "data" / "local", description="Lake, originals, images, work folders.")
    customers: Path = Field(default=PROJECT / "data" / "customers", description="Folder of the customers' YAML files.")
    environment: Literal["dev_analytics", "staging_analytics", "prod_analytics"] = Field(
        default="dev_analytics",
        description="Top-level namespace in each customer's catalog; unset: that of the git branch.",
    )
    epoch: int | None = Field(
        default=None, description="Run with this accepted epoch instead of that of the date; none: the date's own."
    )
    catalog: Literal["embedded", "postgres", "polaris"] = Field(
        default="embedded", description="Which Iceberg catalog: SQLite files, PostgreSQL, or Apache Polaris."
    )
    catalog_url: str | None = Field(default=None, description="Polaris, or an Iceberg REST catalog: http://host:8181.")
    database: str | None = Field(default=None, description="PostgreSQL without secrets: postgresql://host:5432/cradle.")
    s3_endpoint: str | None = Field(default=None, description="S3 server: http://host:8333; none: a local folder.")
    s3_endpoint_internal: str | None = Field(
        default=None, description="S3 server as Polaris reaches it; none: the same."
    )
    s3_region: str = Field(default="us-east-1", description="Region that S3 requests are signed for.")
    credentials: Literal["vended", "static"] = Field(
        default="vended", description="Keys to a lake's files: vended per table by Polaris, or one static pair."
    )
    secrets: Path | None = Field(
        default=None, description="Folder of secrets, <customer>/<environment>/<name>; none: <home>/secrets."
    )
    airflow_home: Path | None = Field(
        default=None, description="AIRFLOW_HOME of an Airflow with a database of its own; none: embedded, on SQLite."
    )
    airflow_url: str | None = Field(
        default=None, description="Address of Airflow's pages, for links in alerts: http://host:8080."
    )
    smtp: str | None = Field(
        default=None, description="Mail server, without secrets: smtp://host:587 or smtps://host:465; none: no e-mail."
    )
    alert_sender: str = Field(default="cradle@localhost", description="Sender of the alerts' e-mails.")
    alert_email: str | None = Field(
        default=None, description="Whom to tell where a customer's file names nobody or is broken; several: a, b."
    )
    lineage: str = Field(
        default="file", description="Where OpenLineage events go: file (lineage.jsonl of Airflow), an address, or off."
    )
    registry: str | None = Field(default=None, description="Registry to push to: host[:port][/prefix]; none: none.")
    base_layout: Path | None = Field(default=None, description="OCI layout of the base image; none: data layers only.")
    model_folder: Path | None = Field(default=None, description="Folder with embedding models, one per sub-folder.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where texts are embedded.")
    threads: int = Field(default=2, ge=1, description="Threads of DuckDB and of the parsers.")
    memory_mb: int = Field(default=4096, ge=256, description="DuckDB's memory limit in MB.")
    parse_seconds: int = Field(default=300, ge=1, description="CPU seconds one file may take to parse.")
    parse_memory_mb: int = Field(default=4096, ge=256, description="Address space of the process that parses a file.")
    parse_output_mb: int = Field(default=4096, ge=1, description="What one file may unfold to, in MB.")
    full_refresh: bool = Field(
        default=False, description="Compute tables and collections again, also those that are known; rows loaded stay."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = False

    @field_validator("airflow_url", "smtp", "alert_email", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None

    @field_validator("smtp")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "smtp://none")
        if parts.username or parts.password or parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("write it as smtp://host:port or smtps://host:port; user and password go into a secret")
        return value

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        for name in ("home", "customers", "secrets", "airflow_home", "base_layout", "model_folder"):
            value = getattr(self, name)
            if value is not None and not value.is_absolute():
                object.__setattr__(self, name, Path.cwd() / value)
        return self

    @field_validator("lineage")
    @classmethod
    def _somewhere(cls, value: str) -> str:
        if value not in ("file", "off") and not value.startswith(("http://", "https://")):
            raise ValueError("is neither file, nor off, nor an http address")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"embedded": (), "postgres": ("database", "s3_endpoint"), "polaris": ("catalog_url", "s3_endpoint")}
        missing = [name for name in needed[self.catalog] if getattr(self, name) is None]
        if missing:
            asked = ", ".join(f"{PREFIX}{name.upper()}" for name in missing)
            raise ValueError(f"the {self.catalog} catalog also needs {asked}")
        return self

    def lake(self, customer: str) -> Path:
        """Catalog file and warehouse of one customer."""
        return self.home / "lake" / customer

    def files(self, customer: str) -> Path:
        """Originals and collections of one customer."""
        return self.home / "files" / customer

    def inbox(self, customer: str) -> Path:
        """Where the customer's files arrive."""
        return self.home / "inbox" / customer

    def images(self, customer: str) -> Path:
        """OCI layout of one customer in this environment."""
        return self.home / "images" / customer / self.environment

    def outcomes(self, customer: str) -> Path:
        """Outcome objects of one customer in this environment."""
        return self.home / "outcomes" / customer / self.environment

    def alerts(self) -> Path:
        """Causes that were told, and messages that wait."""
        return self.home / "alerts"

    def docs(self, customer: str) -> Path:
        """dbt's pages on one customer's models in this environment."""
        return self.home / "docs" / customer / self.environment

    def work(self, customer: str) -> Path:
        """Scratch space; may be deleted between runs."""
        return self.home / "work" / customer / self.environment

    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.airflow_home or self.home / "airflow"


BRANCHES = {"main": "prod_analytics", "develop": "staging_analytics"}


def environment_of_branch(branch: str | None) -> str:
    """Return the environment that a git branch works on: main is prod, develop is staging, all others are dev."""
    return BRANCHES.get(branch or "", "dev_analytics")


def git_branch(folder: Path) -> str | None:
    """Return the branch that is checked out in a folder or worktree; None: none, or no checkout."""
    git = folder / ".git"
    try:
        if git.is_file():  # a worktree names its folder
            git = (folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None


def load_settings() -> Settings:
    """Read the environment; without `CRADLE_ENVIRONMENT` the git branch of the project decides about it.

    Raises:
        ConfigError: an unknown or invalid `CRADLE_` variable.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise ConfigError(
            f"unknown setting {', '.join(unknown)}. Known: {', '.join(sorted(known))}. Unset it or correct the name."
        )
    chosen: dict[str, Any] = {}
    if f"{PREFIX}ENVIRONMENT" not in os.environ:
        chosen["environment"] = environment_of_branch(git_branch(PROJECT))
    try:
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{first['loc'][0]}".upper() if first["loc"] else "settings"
        raise ConfigError(f"setting {name}={first['input']!r}: {first['msg']}. Correct it and run again.") from error


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return this process' settings, read once; entry points call it, everything below gets them handed in."""
    return load_settings()


# Telemetry of every library is off, and no library may ask a hub for a model or Airflow for a secret.
QUIET = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",  # dlt would import Airflow and read all of its variables
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "SCARF_ANALYTICS": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def quieten() -> None:
    """Switch off telemetry for this process and its children; entry points call it before any heavy import."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def set_environment(values: dict[str, str]) -> None:
    """Give this process and its children variables; for those of Airflow before its first import."""
    os.environ.update(values)


def airflow_run() -> dict[str, str] | None:
    """Return which task of which run this process works for, as Airflow tells its tasks; None outside of Airflow."""
    told = {
        name: os.environ.get(f"AIRFLOW_CTX_{variable}")
        for name, variable in (
            ("dag_id", "DAG_ID"),
            ("run_id", "DAG_RUN_ID"),
            ("task_id", "TASK_ID"),
            ("try_number", "TRY_NUMBER"),
        )
    }
    return {name: value for name, value in told.items() if value} if told["run_id"] else None


def clean_environment(*keep: str) -> dict[str, str]:
    """Return an environment for a child that must hold no secret: only the locale, the path and what `keep` names."""
    wanted = {"PATH", "LANG", "LC_ALL", "TMPDIR", *keep}
    return {name: value for name, value in os.environ.items() if name in wanted}
