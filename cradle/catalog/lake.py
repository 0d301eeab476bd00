"""One customer's catalog: embedded, an SQLite file and a warehouse folder beside it."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

from cradle import names
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


def open_lake(settings: Settings, customer: str) -> Lake:
    """Open the customer's catalog; it and its namespaces are made when absent."""
    folder = settings.lake(customer)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".opening").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # SQLite's tables can be created by one process only
        catalog = SqlCatalog(
            customer,
            uri=f"sqlite:///{folder / 'catalog.db'}?timeout=30",  # two writers wait for each other instead of failing
            warehouse=f"file://{folder / 'warehouse'}",
        )
        for namespace in ((settings.environment,), *((settings.environment, layer) for layer in names.LAYERS)):
            if not catalog.namespace_exists(namespace):
                catalog.create_namespace(namespace)
    return Lake(settings, customer, settings.environment, catalog)


def asof_branch(logical_date: date) -> str:
    """Return the branch that holds the state of one logical date."""
    return f"asof-{logical_date.isoformat()}"
