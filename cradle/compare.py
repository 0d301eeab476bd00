"""Two tables compared row by row: counts that are exact, and rows as far as a limit.

Rows are told apart by their table's key. Where there is none, or where it repeats, they are counted: so many more of
this row, so many fewer. The lineage columns say where a row was read and not what it is, so they are neither a change
nor, alone, a key: a file delivered anew gives every row another lineage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final, Literal

import duckdb
from pydantic import BaseModel, ConfigDict

from cradle import names

LIMIT: Final = 1000  # rows of a table that are listed of each kind
Cell = str | int | float | bool | None
Columns = dict[str, str]  # name → type
AS_THEY_ARE: Final = {"VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellChange(_Model):
    """The value of a cell before and after."""

    old: Cell
    new: Cell


class RowChange(_Model):
    """A row whose key stayed: the columns whose values changed."""

    key: tuple[Cell, ...]
    cells: dict[str, CellChange]


class Row(_Model):
    """A row that came or went, so many times."""

    values: dict[str, Cell]
    times: int = 1


class TableChanges(_Model):
    """What changed in a table; without a key nothing is `changed`. `rows_before` is None where the table is new.

    Values of columns added, removed or of another type than before (`columns_retyped`) are told apart as text; a column
    that came or went is by itself no change of a row.
    """

    key: tuple[str, ...]
    rows_before: int | None
    rows_after: int | None
    added: int = 0
    changed: int = 0
    removed: int = 0
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    columns_retyped: tuple[str, ...] = ()
    rows_added: tuple[Row, ...] = ()
    rows_changed: tuple[RowChange, ...] = ()
    rows_removed: tuple[Row, ...] = ()


class Changes(_Model):
    """What changed between two releases; `limit` is the number of rows that a table lists of each kind."""

    format: Literal[1] = 1
    customer: str
    environment: str
    old_release: str
    new_release: str
    limit: int
    rejects_before: int
    rejects_after: int
    vectors_before: int
    vectors_after: int
    tables: dict[str, TableChanges]

    def canonical(self) -> bytes:
        """Return the canonical JSON form: free of times, places and snapshot ids."""
        content = self.model_dump(mode="json")
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def compare(
    con: duckdb.DuckDBPyConnection,
    before: str | None,
    after: str | None,
    keys: Iterable[tuple[str, ...]],
    limit: int = LIMIT,
) -> TableChanges:
    """Compare two relations: SQL texts that may follow FROM; None stands for a table that is not there.

    Args:
        keys: keys in the order of preference; the first one that fits both relations tells the rows apart.
    """
    keys = telling(keys)
    ignored = set(names.LINEAGE).difference(*keys)
    had, has = (_columns(con, one, ignored) if one else {} for one in (before, after))
    old, new = had if before else has, has if after else had
    common = [name for name in new if name in old]
    retyped = [name for name in common if old[name] != new[name]]
    _load(con, "before", before or f"(select * from {after} limit 0)", old, retyped)
    _load(con, "after", after or f"(select * from {before} limit 0)", new, retyped)
    key = next((one for one in keys if _fits(con, one, common)), ())
    kinds = {name: "VARCHAR" if name in retyped else kind for name, kind in {**old, **new}.items()}
    comparison = _Comparison(con, kinds, list(old), list(new), key, limit)
    told = comparison.by_key() if key else comparison.by_count()
    return TableChanges(
        key=key,
        rows_before=_count(con, '"before"') if before else None,
        rows_after=_count(con, '"after"') if after else None,
        columns_added=tuple(name for name in has if name not in had),
        columns_removed=tuple(name for name in had if name not in has),
        columns_retyped=tuple(retyped),
        **told,
    )


def telling(keys: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the keys that tell what a row is, and not only where it was read."""
    return [key for key in keys if not set(key) <= set(names.LINEAGE)]


def _columns(con: duckdb.DuckDBPyConnection, relation: str, ignored: set[str]) -> Columns:
    described = con.execute(f"describe select * from {relation}").fetchall()
    return {row[0]: row[1] for row in described if row[0] not in ignored}


def _load(con: duckdb.DuckDBPyConnection, name: str, relation: str, columns: Columns, retyped: list[str]) -> None:
    """Copy what is compared into the connection, so that the files are read once."""
    wanted = [f"{_q(one)}::varchar as {_q(one)}" if one in retyped else _q(one) for one in columns]
    con.execute(f'create or replace temp table "{name}" as select {", ".join(["0 as _", *wanted])} from {relation}')


def _fits(con: duckdb.DuckDBPyConnection, key: tuple[str, ...], common: list[str]) -> bool:
    """Tell whether a key is in both tables and repeats in none of them."""
    if not set(key) <= set(common):
        return False
    columns = _list(key)
    doubled = "select count(*) from (select {} from {} group by all having count(*) > 1)"
    return not any(con.execute(doubled.format(columns, name)).fetchall()[0][0] for name in ('"before"', '"after"'))


class _Comparison:
    """The tables `before` and `after` of a connection, compared."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        kinds: Columns,
        old: list[str],
        new: list[str],
        key: tuple[str, ...],
        limit: int,
    ) -> None:
        self.con, self.kinds, self.old, self.new, self.key, self.limit = con, kinds, old, new, key, limit
        self.common = [name for name in new if name in old]

    def by_key(self) -> dict[str, Any]:
        """Tell rows apart by their key."""
        same_key = " and ".join(f"a.{_q(one)} is not distinct from b.{_q(one)}" for one in self.key)
        added = f'"after" a anti join "before" b on {same_key}'
        removed = f'"before" a anti join "after" b on {same_key}'
        rest = [name for name in self.common if name not in self.key]
        differs = [f"a.{_q(name)} is distinct from b.{_q(name)}" for name in rest]
        changed = f'"after" a join "before" b on {same_key} where {" or ".join(differs) or "false"}'
        return {
            "added": _count(self.con, added),
            "changed": _count(self.con, changed),
            "removed": _count(self.con, removed),
            "rows_added": self._rows(f"select a.* exclude (_), 1 from {added}", self.new, self.key),
            "rows_removed": self._rows(f"select a.* exclude (_), 1 from {removed}", self.old, self.key),
            "rows_changed": self._changed(changed, rest, differs),
        }

    def _changed(self, changed: str, rest: list[str], differs: list[str]) -> tuple[RowChange, ...]:
        told = [self._cell(name, "a.") for name in self.key]
        for name, differ in zip(rest, differs, strict=True):
            told += [differ, self._cell(name, "b."), self._cell(name, "a.")]
        order = ", ".join(f"a.{_q(name)}" for name in self.key)
        found = self.con.execute(f"select {', '.join(told)} from {changed} order by {order} limit {self.limit}")
        rows, width = [], len(self.key)
        for row in found.fetchall():
            triples = zip(rest, row[width::3], row[width + 1 :: 3], row[width + 2 :: 3], strict=True)
            cells = {name: CellChange(old=_json(old), new=_json(new)) for name, differ, old, new in triples if differ}
            rows.append(RowChange(key=tuple(_json(one) for one in row[:width]), cells=cells))
        return tuple(rows)

    def by_count(self) -> dict[str, Any]:
        """Count equal rows on both sides: what there is more of came, what there is less of went."""
        columns = _list(["_", *self.common])
        both = f'select {columns}, 1 as _n from "after" union all select {columns}, -1 as _n from "before"'
        balance = f"select {columns}, sum(_n) as _n from ({both}) group by all"
        self.con.execute(f"create or replace temp table balance as {balance}")
        told: dict[str, Any] = {}
        for kind, sign in (("added", 1), ("removed", -1)):
            wanted = f"from balance where sign(_n) = {sign}"
            (total,) = self.con.execute(f"select coalesce(sum(abs(_n)), 0) {wanted}").fetchall()[0]
            told[kind] = int(total)
            query = f"select * exclude (_, _n), abs(_n) {wanted}"
            told[f"rows_{kind}"] = self._rows(query, self.common, self.common)
        return told

    def _rows(self, query: str, columns: list[str], order: Iterable[str]) -> tuple[Row, ...]:
        """Return rows in the order of some columns; the query's last column says how often each one counts."""
        cells = ", ".join([*(self._cell(name) for name in columns), "_times"])
        aliases = _list([*columns, "_times"])
        found = self.con.execute(
            f"select {cells} from ({query}) as r({aliases}) order by {_list(order) or '_times'} limit {self.limit}"
        )
        return tuple(
            Row(values=dict(zip(columns, map(_json, row[:-1]), strict=True)), times=int(row[-1]))
            for row in found.fetchall()
        )

    def _cell(self, name: str, side: str = "") -> str:
        """Return the SQL text of a value as it is told: text for all that JSON has no form for."""
        kind = self.kinds[name]
        if kind in AS_THEY_ARE:
            return f"{side}{_q(name)}"
        nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
        return f"to_json({side}{_q(name)})::varchar" if nested else f"{side}{_q(name)}::varchar"


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(con.execute(f"select count(*) from {relation}").fetchall()[0][0])


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(columns: Iterable[str]) -> str:
    return ", ".join(map(_q, columns))
