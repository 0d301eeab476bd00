"""Looking at and going back to what was: time travel, rollback of a release, repair of a table.

Flow: release rows → pins → views, `main`, or the metadata that a table is registered from again
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import duckdb

from cradle.catalog import Lake, Pin, connect_duckdb, open_lake, publish, readable, register_again, resolve
from cradle.catalog.connect import Role, known_roles, reading_role
from cradle.catalog.run import run_lock
from cradle.config import Settings
from cradle.errors import ConfigError, MissingStep
from cradle.outcomes import outcome
from cradle.releases import Release, append_release, find, newest_attempt, releases

# Columns of `ops.outcomes`. What verbs put into the last four differs, so these stay JSON.
OUTCOMES = {
    "customer": "text",
    "environment": "text",
    "logical_date": "date",
    "verb": "text",
    "attempt": "text",
    "started_at": "timestamptz",
    "seconds": "double",
    "ok": "boolean",
    "error": "struct(type text, message text)",
    "code_version": "text",
    "run": "json",
    "inputs": "json",
    "counts": "json",
    "outputs": "json",
}


def release_as_of(lake: Lake, day: date) -> Release:
    """Return the newest release dated on or before a day.

    Raises:
        MissingStep: there is none.
    """
    found = [one for one in releases(lake) if one.logical_date <= day]
    if not found:
        raise MissingStep(
            f"customer {lake.customer} has no release dated on or before {day} in {lake.environment}. "
            f"See `cradle status {lake.customer}`."
        )
    return found[-1]


def open_history(settings: Settings, customer: str, day: date | None) -> tuple[duckdb.DuckDBPyConnection, Release]:
    """Return a DuckDB whose views are the tables of one release: the current one, or that of a day."""
    lake = open_lake(settings, customer, reading_role(settings, customer))
    release = release_as_of(lake, day) if day else find(lake)
    con = connect_duckdb(settings)
    for table, pin in release.pins.items():
        layer, name = table.split(".", 1)
        con.execute(f'create schema if not exists "{layer}"')
        con.execute(f'create view "{layer}"."{name}" as select * from {readable(con, lake, pin)}')
    _show_outcomes(con, settings, customer)
    return con, release


def _show_outcomes(con: duckdb.DuckDBPyConnection, settings: Settings, customer: str) -> None:
    """Make `ops.outcomes` the view over the outcome files as they are now, whatever the release."""
    files = settings.outcomes(customer) / "*" / "*.json"
    con.execute("create schema if not exists ops")
    if not any(settings.outcomes(customer).glob("*/*.json")):  # which DuckDB would refuse
        con.execute(f"create table ops.outcomes ({', '.join(f'{name} {kind}' for name, kind in OUTCOMES.items())})")
        return
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in OUTCOMES.items())
    quoted = str(files).replace("'", "''")
    con.execute(f"create view ops.outcomes as select * from read_json('{quoted}', columns = {{{columns}}})")


def roll_back(settings: Settings, customer: str, release_id: str) -> Release:
    """Make what an older release pins current again, as a new row; nothing is rewritten and nothing is deleted.

    Raises:
        MissingStep: there is no such release.
    """
    with outcome(settings, customer, "rollback", None) as noted, run_lock(settings, customer):
        lake = open_lake(settings, customer)
        wanted, newest = find(lake, release_id=release_id), releases(lake)[-1]
        noted.inputs = {"release": wanted.release_id}
        if newest.release_id == wanted.release_id:
            return newest
        made = wanted.model_copy(
            update={
                "logical_date": newest.logical_date,
                "sequence": newest.sequence + 1,
                "attempt": newest_attempt(lake, newest.logical_date),
                "same_as": wanted.same_as or wanted.logical_date,
                "created_at": datetime.now(UTC),
            }
        )
        append_release(lake, made)
        moved = publish(lake, {table: pin.snapshot_id for table, pin in made.pins.items()})
        noted.outputs = {"sequence": made.sequence, "moved": moved}
        return made


def repair(settings: Settings, customer: str) -> dict[str, str]:
    """Register every table that can't be loaded any more from the newest release row that knows its metadata.

    What was committed after that release is made again by the next night: its steps find no key and write anew.

    Returns:
        table → `sound`, `repaired` or why it could not be.
    """
    with outcome(settings, customer, "repair", None) as noted, run_lock(settings, customer):
        role: Role = "admin" if "admin" in known_roles(settings, customer) else "pipeline"
        lake = open_lake(settings, customer, role)
        pins: dict[str, Pin] = {}
        for one in releases(lake):
            pins |= one.pins
            if one.ledger:
                pins[one.ledger.table] = one.ledger
        broken = {table: why for table, pin in sorted(pins.items()) if (why := _broken(lake, pin))}
        if broken and settings.catalog == "polaris" and role != "admin":
            raise ConfigError(
                f"customer {customer}: {', '.join(broken)} can't be loaded, and the pipeline may not drop a table. Run "
                f"`cradle repair {customer}` where the operator's secrets are (CRADLE_SECRETS)."
            )
        told = {
            table: _repaired(lake, pin, broken[table]) if table in broken else "sound" for table, pin in pins.items()
        }
        noted.counts = {"tables": len(told), "repaired": sum(word == "repaired" for word in told.values())}
        noted.outputs = {"tables": told}
        return told


def _broken(lake: Lake, pin: Pin) -> str | None:
    """Say why a table can't be loaded; None when it can."""
    try:
        return "the table is gone" if resolve(lake, pin.table) is None else None
    except Exception as error:  # noqa: BLE001  (each catalog has its own words for metadata that is gone)
        return f"{type(error).__name__}: {error}"


def _repaired(lake: Lake, pin: Pin, why: str) -> str:
    register_again(lake, pin.table, pin.metadata_location)
    return "repaired" if resolve(lake, pin.table, str(pin.snapshot_id)) else f"not repaired: {why}"


def steps(lake: Lake) -> list[dict[str, object]]:
    """Return the release rows as people read them, newest last."""
    return [
        {
            "release": one.short_id,
            "logical_date": one.logical_date.isoformat(),
            "sequence": one.sequence,
            "same_as": one.same_as.isoformat() if one.same_as else None,
            "created_at": one.created_at.isoformat(timespec="seconds"),
            "tables": len(one.pins),
        }
        for one in releases(lake)
    ]
