"""One customer's catalog, looked at from one environment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pyiceberg.catalog import Catalog

from cradle.catalog.connect import Role, connect
from cradle.config import Settings


@dataclass(frozen=True)
class Lake:
    """A customer's catalog, looked at from one environment."""

    settings: Settings
    customer: str
    environment: str
    catalog: Catalog

    def identifier(self, table: str) -> tuple[str, ...]:
        """Return the Iceberg identifier of `layer.table` in this environment."""
        layer, name = table.split(".", 1)
        return (self.environment, layer, name)


def open_lake(settings: Settings, customer: str, role: Role = "pipeline") -> Lake:
    """Open the customer's catalog as one of its roles; embedded, it and its namespaces are made when absent."""
    return Lake(settings, customer, settings.environment, connect(settings, customer, role))


def asof_branch(logical_date: date) -> str:
    """Return the branch that holds the state of one logical date."""
    return f"asof-{logical_date.isoformat()}"
