"""Which rows and columns of a table a request asks for, and the SQL of it; names are checked, values are parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Shape = Literal["json", "csv", "arrow"]


@dataclass(frozen=True)
class Wish:
    """What a request says about rows, before it is known whether the table has such columns.

    Attributes:
        filters: column → value that it must equal.
        columns: in this order; empty: all.
        sort: columns, a `-` before those that fall; empty: the order of the key.
    """

    filters: Mapping[str, str]
    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()

    def named(self) -> set[str]:
        """Return every column that is asked for."""
        return {*self.filters, *self.columns, *(name.removeprefix("-") for name in self.sort)}


@dataclass(frozen=True)
class Selection:
    """A wish that the table can fulfil.

    Attributes:
        kinds: column → type, of all columns of the table.
        compared: column → type as which a filter's value is read.
        key: that decides between rows which are equal in what they are sorted by.
    """

    table: str
    wish: Wish
    kinds: Mapping[str, str]
    compared: Mapping[str, str]
    key: tuple[str, ...]

    def count(self) -> tuple[str, list[str]]:
        """Return the query of how many rows fit."""
        return f'select count(*) from "{self.table}"{self._where()}', list(self.wish.filters.values())

    def page(self, shape: Shape, limit: int, offset: int) -> tuple[str, list[str | int]]:
        """Return the query of some rows: one JSON text per row, or columns as the format can hold them."""
        wanted = self.wish.columns or tuple(self.kinds)
        columns = ", ".join(_quoted(name) for name in wanted)
        rows = f'select {columns} from "{self.table}"{self._where()}{self._order()} limit ? offset ?'
        if shape == "json":
            rows = f"select to_json(t)::varchar as line from ({rows}) t"
        elif shape == "csv":
            rows = f"select {', '.join(_flat(name, self.kinds[name]) for name in wanted)} from ({rows})"
        return rows, [*self.wish.filters.values(), limit, offset]

    def tests(self) -> str:
        """Return the condition of the filters, with a ? for each value; empty without one."""
        return " and ".join(f"{_quoted(name)} = try_cast(? as {self.compared[name]})" for name in self.wish.filters)

    def _where(self) -> str:
        tests = self.tests()
        return f" where {tests}" if tests else ""

    def _order(self) -> str:
        asked = [(name.removeprefix("-"), " desc" if name.startswith("-") else "") for name in self.wish.sort]
        rest = [(name, "") for name in self.key if name not in {one for one, _ in asked}]
        order = [f"{_quoted(name)}{way} nulls last" for name, way in [*asked, *rest]]
        return f" order by {', '.join(order) or 'all'}"


def twice(names: Iterable[str]) -> list[str]:
    """Return the names that stand more than once."""
    seen, found = set[str](), list[str]()
    for name in names:
        if name in seen:
            found.append(name)
        seen.add(name)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _flat(name: str, kind: str) -> str:
    """Return a column as CSV can hold it: what is nested becomes JSON."""
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
    return f"to_json({_quoted(name)})::varchar as {_quoted(name)}" if nested else _quoted(name)
