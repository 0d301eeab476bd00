"""Rows compared in plain Python: what the differences between two tables have to say."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from cradle.compare import TableChanges

Rows = list[dict[str, Any]]


def told(value: Any) -> Any:
    """Return a value as the differences tell it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def frozen(row: dict[str, Any], columns: list[str]) -> tuple[Any, ...]:
    return tuple(told(row[name]) for name in columns)


def plain_python(before: Rows, after: Rows, columns: list[str], key: tuple[str, ...]) -> dict[str, Any]:
    """Compare row by row: the oracle. Without a usable key rows are counted."""
    old_keys, new_keys = ([frozen(row, list(key)) for row in rows] for rows in (before, after))
    if not key or any(count > 1 for keys in (old_keys, new_keys) for count in Counter(keys).values()):
        old, new = (Counter(frozen(row, columns) for row in rows) for rows in (before, after))
        return {"added": Counter(new - old), "removed": Counter(old - new), "changed": {}}
    was, now = dict(zip(old_keys, before, strict=True)), dict(zip(new_keys, after, strict=True))
    changed = {}
    for one in was.keys() & now.keys():
        cells = {name: (told(was[one][name]), told(now[one][name])) for name in columns}
        cells = {name: pair for name, pair in cells.items() if pair[0] != pair[1]}
        if cells:
            changed[one] = cells
    return {
        "added": Counter(frozen(now[one], columns) for one in now.keys() - was.keys()),
        "removed": Counter(frozen(was[one], columns) for one in was.keys() - now.keys()),
        "changed": changed,
    }


def assert_as(found: TableChanges, wanted: dict[str, Any], columns: list[str]) -> None:
    """Compare with the oracle: counts, and each row that is listed."""
    assert found.added == sum(wanted["added"].values())
    assert found.removed == sum(wanted["removed"].values())
    assert found.changed == len(wanted["changed"])
    for kind in ("added", "removed"):
        rows = getattr(found, f"rows_{kind}")
        assert Counter({frozen(row.values, columns): row.times for row in rows}) == wanted[kind]
        assert all(list(row.values) == columns for row in rows)
    cells = {row.key: {name: (cell.old, cell.new) for name, cell in row.cells.items()} for row in found.rows_changed}
    assert cells == wanted["changed"]
