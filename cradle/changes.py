"""What changed between two releases, table by table: the same releases give the same JSON every time.

Flow: pins of two releases → DuckDB → compared by key, or counted → `Changes`
"""

from __future__ import annotations

import duckdb

from cradle.catalog import Lake, connect_duckdb, open_lake, readable, resolve
from cradle.catalog.connect import reading_role
from cradle.compare import LIMIT, Changes, TableChanges, compare, telling
from cradle.config import Settings
from cradle.errors import ConfigError, MissingStep
from cradle.releases import PinnedTable, Release, find

__all__ = ["Changes", "changes"]


def changes(settings: Settings, customer: str, old_release: str, new_release: str, limit: int = LIMIT) -> Changes:
    """Compare two releases of a customer, each given by its id or the part of it that people see.

    Raises:
        MissingStep: there is no such release, or what it pins is gone.
        ConfigError: the limit is negative.
    """
    if limit < 0:
        raise ConfigError(f"a limit of {limit} rows can't be kept; 0 or more are allowed.")
    lake = open_lake(settings, customer, reading_role(settings, customer))
    old, new = find(lake, release_id=old_release), find(lake, release_id=new_release)
    with connect_duckdb(settings) as con:
        every = sorted(old.pins.keys() | new.pins.keys())
        tables = {table: _of_table(con, lake, (old, new), table, limit) for table in every}
    return Changes(
        customer=customer,
        environment=lake.environment,
        old_release=old.release_id,
        new_release=new.release_id,
        limit=limit,
        rejects_before=old.rejects,
        rejects_after=new.rejects,
        vectors_before=old.collection.count if old.collection else 0,
        vectors_after=new.collection.count if new.collection else 0,
        tables=tables,
    )


def _of_table(
    con: duckdb.DuckDBPyConnection, lake: Lake, pair: tuple[Release, Release], table: str, limit: int
) -> TableChanges:
    before, after = (one.pins.get(table) for one in pair)
    if before and after and before.content_digest == after.content_digest != "":
        key = next(iter(telling([after.key])), ())
        return TableChanges(key=key, rows_before=before.rows, rows_after=after.rows)
    keys = [pin.key for pin in (after, before) if pin]
    return compare(con, _relation(con, lake, before), _relation(con, lake, after), keys, limit)


def _relation(con: duckdb.DuckDBPyConnection, lake: Lake, pin: PinnedTable | None) -> str | None:
    if pin is None:
        return None
    if resolve(lake, pin.table, str(pin.snapshot_id)) is None:
        raise MissingStep(
            f"{pin.table} of customer {lake.customer} has no snapshot {pin.snapshot_id} any more: the release was not "
            f"kept. See `cradle history {lake.customer}`."
        )
    return readable(con, lake, pin)
