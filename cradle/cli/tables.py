"""Commands about the tables of a customer: query, history, rollback, repair, drift, evolve."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cradle.cli.output import AsJson, CustomerName, emit, table
from cradle.cli.verbs import day, ready
from cradle.errors import ConfigError

PANEL = "Tables"
SHOWN = 50  # rows that a person is shown
Pairs = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (query, history, rollback, repair, drift, evolve):
        app.command(rich_help_panel=PANEL)(command)


def query(
    customer: CustomerName,
    sql: Annotated[str, typer.Argument(help="SQL over the tables of a release: marts.orders and so on.")],
    as_of: Annotated[str | None, typer.Option(help="Ask the release of this date, YYYY-MM-DD; none: current.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the tables of a release in SQL. Example: cradle query demo "select count(*) from marts.orders" """
    import duckdb

    from cradle.history import open_history

    found = ready()
    con, release = open_history(found, customer, day(found, customer, as_of) if as_of else None)
    try:
        answer = con.execute(sql)
        columns = [one[0] for one in answer.description or []]
        rows = answer.fetchall()
    except duckdb.Error as error:
        have = ", ".join(release.pins)
        raise ConfigError(f"{error}\nThe release {release.short_id} of {release.logical_date} has: {have}.") from error
    if as_json:
        content = {"release": release.release_id, "logical_date": release.logical_date.isoformat()}
        emit({**content, "columns": columns, "rows": [[_plain(one) for one in row] for row in rows]}, True, "", [])
        return
    more = f", first {SHOWN} of {len(rows):,} rows" if len(rows) > SHOWN else ""
    table(
        f"release {release.short_id} of {release.logical_date}{more}", columns, [map(_plain, r) for r in rows[:SHOWN]]
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def history(customer: CustomerName, as_json: AsJson = False) -> None:
    """List the releases of a customer, oldest first. Example: cradle history demo"""
    from cradle.catalog import open_lake
    from cradle.history import steps

    rows = steps(open_lake(ready(), customer))
    if as_json:
        emit(rows, True, "", [])
    else:
        table(f"{customer}: releases", list(rows[0]) if rows else ["release"], [list(row.values()) for row in rows])


def rollback(
    customer: CustomerName,
    release: Annotated[str | None, typer.Option(help="Release id, 12 or more characters.")] = None,
    one: Annotated[str | None, typer.Option("--table", help="Only this table, as layer.name.")] = None,
    snapshot: Annotated[int | None, typer.Option(help="Snapshot to which --table goes back.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go back to a release, or with one table to a snapshot. Example: cradle rollback demo --release 2e7df1353fb6"""
    from cradle.catalog import open_lake
    from cradle.catalog import rollback as move
    from cradle.history import roll_back

    found = ready()
    if release and not one:
        made = roll_back(found, customer, release)
        facts = {"release": made.release_id, "logical_date": made.logical_date.isoformat(), "sequence": made.sequence}
    elif one and snapshot and not release:
        move(open_lake(found, customer), one, snapshot)
        facts = {"table": one, "snapshot": str(snapshot)}
    else:
        raise ConfigError("give either --release ID, or --table layer.name with --snapshot ID. See `cradle history`.")
    emit({"customer": customer, **facts}, as_json, f"{customer}: rolled back", facts.items())


def repair(customer: CustomerName, as_json: AsJson = False) -> None:
    """Register tables that can't be loaded from the release rows again. Example: cradle repair demo"""
    from cradle.history import repair as mend

    told = mend(ready(), customer)
    emit({"customer": customer, "tables": told}, as_json, f"{customer}: {len(told)} tables", told.items())


def drift(customer: CustomerName, as_json: AsJson = False) -> None:
    """Compare declared with live tables; nothing is changed. Example: cradle drift demo"""
    from cradle.catalog import open_lake
    from cradle.catalog.schema import drift as compare
    from cradle.customers import load_customer

    found = ready()
    known = load_customer(found.customers, customer)
    seen = compare(open_lake(found, customer), known.installation)
    if as_json:
        emit([asdict(row) for row in seen], True, "", [])
    elif seen:
        table(f"{customer}: drift", ["table", "what", "detail"], [[row.table, row.what, row.detail] for row in seen])
    else:
        emit({}, False, f"{customer}: no drift", [])


def evolve(
    customer: CustomerName,
    one: Annotated[str, typer.Argument(metavar="TABLE", help="Table, as layer.name.")],
    add: Annotated[Pairs, typer.Option(help="Column to add, as name:type; may be given again.")] = None,
    drop: Annotated[Pairs, typer.Option(help="Column to drop; may be given again.")] = None,
    rename: Annotated[Pairs, typer.Option(help="Column to rename, as old:new; may be given again.")] = None,
    widen: Annotated[Pairs, typer.Option(help="Column to widen, as name:type; may be given again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a table's columns without rewriting a file. Example: cradle evolve demo marts.orders --add note:string"""
    from cradle.catalog import open_lake
    from cradle.catalog.schema import Change
    from cradle.catalog.schema import evolve as change

    asked = Change(_pairs("--add", add), tuple(drop or ()), _pairs("--rename", rename), _pairs("--widen", widen))
    columns = change(open_lake(ready(), customer), one, asked)
    content = {"customer": customer, "table": one, "columns": columns}
    emit(content, as_json, f"{customer}: {one}", [("column", name) for name in columns])


def _pairs(option: str, given: Pairs) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        name, colon, value = text.partition(":")
        if not (name and colon and value):
            raise ConfigError(f"{option} {text!r}: write it as name:value, for example note:string.")
        pairs[name] = value
    return pairs
