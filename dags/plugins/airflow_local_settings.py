"""Imported by every part of Airflow as it starts; makes its transactions on SQLite atomic.

Python's sqlite3 begins no transaction before a SAVEPOINT. What Airflow writes in a nested transaction is then seen by
others before its outer transaction ends, and fails as "database is locked" when another part has written meanwhile: a
backfill could not be made while the scheduler ran, and what was taken back ended the scheduler.
Source: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html (serializable isolation, savepoints)
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

__all__: list[str] = []  # Airflow takes every public name of this module for one of its settings


@event.listens_for(Engine, "savepoint")
def begin_first(connection: Connection, _name: Any) -> None:
    """Begin the transaction that a savepoint belongs to, as a writing one: it waits for other writers."""
    if connection.dialect.name == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
