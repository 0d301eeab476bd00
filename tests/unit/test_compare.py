"""Two tables compared in DuckDB say what plain Python says that reads both."""

from __future__ import annotations

import json
import math
import random
from datetime import date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cradle import names
from cradle.compare import Changes, TableChanges, compare
from tests.differences import Rows, assert_as, plain_python

KEY = ("number", "part")
TECHNICAL = [pa.field(names.FILE_SHA256, pa.string()), pa.field(names.ROW_NUMBER, pa.int64())]
PLAIN = [
    pa.field("number", pa.int64()),
    pa.field("part", pa.string()),
    pa.field("amount", pa.decimal128(18, 4)),
    pa.field("day", pa.date32()),
    pa.field("at", pa.timestamp("us")),
    pa.field("ratio", pa.float64()),
    pa.field("good", pa.bool_()),
    pa.field("tags", pa.list_(pa.string())),
]
SCHEMA = pa.schema([*PLAIN, *TECHNICAL])

few = st.sampled_from
VALUES = {
    "number": few([None, 1, 2, 3, 4]),
    "part": few([None, "", "a", "ä\"'"]),
    "amount": few([None, Decimal("0.0001"), Decimal("-12.5000")]),
    "day": few([None, date(2024, 2, 29), date(1, 1, 1)]),
    "at": few([None, datetime(2024, 2, 29, 1, 2, 3)]),  # noqa: DTZ001  (a column without a zone)
    "ratio": few([None, 0.1, 2.0, math.nan, math.inf]),
    "good": few([None, True, False]),
    "tags": few([None, [], ["x", None]]),
    names.FILE_SHA256: few(["f1", "f2"]),
    names.ROW_NUMBER: few([1, 2, 3]),
}
TABLES = st.lists(st.fixed_dictionaries(VALUES), max_size=8)


def compared(
    before: pa.Table | None, after: pa.Table | None, *keys: tuple[str, ...], limit: int = 1000
) -> TableChanges:
    con = duckdb.connect(":memory:")
    for name, rows in (("b", before), ("a", after)):
        if rows is not None:
            con.register(name, rows)
    return compare(con, "b" if before is not None else None, "a" if after is not None else None, keys, limit)


def table(rows: Rows, schema: pa.Schema = SCHEMA) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


@settings(max_examples=150, deadline=None)
@given(TABLES, TABLES, st.booleans())
def test_rows_are_compared_as_plain_python_compares_them(before: Rows, after: Rows, keyed: bool) -> None:
    """Among few values keys repeat often: both ways of comparing are met."""
    columns = [field.name for field in PLAIN]
    found = compared(table(before), table(after), *([KEY] if keyed else []))
    wanted = plain_python(before, after, columns, KEY if keyed else ())
    assert_as(found, wanted, columns)
    assert (found.rows_before, found.rows_after) == (len(before), len(after))


@st.composite
def edited(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Draw a table with a sound key and what some edits made of it."""
    rows = draw(st.lists(st.fixed_dictionaries(VALUES), max_size=8, unique_by=lambda row: (row["number"], row["part"])))
    after = [dict(row) for row in rows if draw(st.integers(0, 4))]
    for row in after:
        name = draw(few(sorted(VALUES.keys() - set(KEY))))
        if draw(st.booleans()):
            row[name] = draw(VALUES[name])
    fresh = draw(st.fixed_dictionaries(VALUES))
    if all((row["number"], row["part"]) != (fresh["number"], fresh["part"]) for row in after):
        after.append(fresh)
    return rows, draw(st.permutations(after))


@settings(max_examples=150, deadline=None)
@given(edited())
def test_edits_are_found_by_their_key(pair: tuple[Rows, Rows]) -> None:
    before, after = pair
    columns = [field.name for field in PLAIN]
    found = compared(table(before), table(after), KEY)
    assert found.key == KEY
    assert_as(found, plain_python(before, after, columns, KEY), columns)


@settings(max_examples=30, deadline=None)
@given(edited(), st.integers(0, 3), st.integers(0, 2**32))
def test_the_same_rows_in_any_order_give_the_same_and_a_limit_cuts_the_list_only(
    pair: tuple[Rows, Rows], limit: int, seed: int
) -> None:
    draw = random.Random(seed)
    before, after = (draw.sample(rows, len(rows)) for rows in pair)
    for keys in ([KEY], []):
        full = compared(table(pair[0]), table(pair[1]), *keys)
        assert compared(table(before), table(after), *keys) == full
        cut = compared(table(before), table(after), *keys, limit=limit)
        lists = ("rows_added", "rows_changed", "rows_removed")
        assert cut.model_dump(exclude=set(lists)) == full.model_dump(exclude=set(lists))
        for name in lists:
            assert getattr(cut, name) == getattr(full, name)[:limit]


def test_rows_are_listed_in_the_order_of_their_key() -> None:
    schema = pa.schema([("number", pa.int64()), ("part", pa.string())])
    rows = [{"number": number, "part": part} for number in (10, 9, None) for part in ("b", "a")]
    found = compared(None, table(rows, schema), KEY)
    assert [tuple(row.values.values()) for row in found.rows_added] == [
        (9, "a"),
        (9, "b"),
        (10, "a"),
        (10, "b"),
        (None, "a"),
        (None, "b"),
    ]


def test_lineage_is_no_change_and_no_key_but_may_be_part_of_one() -> None:
    lineage = (names.FILE_SHA256, names.ROW_NUMBER)
    schema = pa.schema([("part", pa.string()), *TECHNICAL])
    before = [{"part": "a", names.FILE_SHA256: "f1", names.ROW_NUMBER: 1}]
    after = [{**before[0], names.FILE_SHA256: "f2"}, {"part": "b", names.FILE_SHA256: "f2", names.ROW_NUMBER: 2}]
    for keys in ([lineage], [("part",)], [lineage, ("part",)]):
        found = compared(table(before, schema), table(after, schema), *keys)
        assert (found.added, found.changed, found.removed) == (1, 0, 0)
        assert [row.values for row in found.rows_added] == [{"part": "b"}]
        assert found.key == (() if keys == [lineage] else ("part",))
    mixed = compared(table(before, schema), table(after, schema), ("part", names.FILE_SHA256))
    assert (mixed.added, mixed.changed, mixed.removed) == (2, 0, 1)


def test_a_key_that_is_not_in_both_tables_or_repeats_gives_way_to_the_next() -> None:
    before = table([{"number": 1, "part": "a"}, {"number": 1, "part": "b"}], pa.schema(PLAIN[:2]))
    after = table([{"number": 2, "part": "a"}, {"number": 1, "part": "b"}], pa.schema(PLAIN[:2]))
    found = compared(before, after, ("gone",), ("number",), ("part",))
    assert found.key == ("part",)
    assert [(row.key, row.cells["number"].old, row.cells["number"].new) for row in found.rows_changed] == [
        (("a",), 1, 2)
    ]
    assert compared(before, after, ("number",)).key == ()


def test_columns_that_came_went_or_changed_their_type_are_named() -> None:
    before = pa.table({"part": ["a", "b"], "size": ["1", "x"], "old": [1, 2]})
    after = pa.table({"part": ["a", "b"], "size": [1, 2], "new": [1, 2]})
    for keys in ([("part",)], []):
        found = compared(before, after, *keys)
        assert (found.columns_added, found.columns_removed, found.columns_retyped) == (("new",), ("old",), ("size",))
        assert (found.added, found.changed, found.removed) == ((0, 1, 0) if keys else (1, 0, 1))
    assert compared(before, before.drop_columns(["old"]), ("part",)).changed == 0
    assert compared(before, pa.table({"other": [1, 2, 3]})).added == 1  # nothing in common: three rows for two


@pytest.mark.parametrize("keys", [[("part",)], []])
def test_a_table_that_came_or_went_is_all_rows(keys: list[tuple[str, ...]]) -> None:
    rows = pa.table({"part": ["b", "a"], "size": [1, 2]})
    came, went = compared(None, rows, *keys), compared(rows, None, *keys)
    assert (came.rows_before, came.rows_after, came.added, came.removed) == (None, 2, 2, 0)
    assert (went.rows_before, went.rows_after, went.added, went.removed) == (2, None, 0, 2)
    assert came.rows_added == went.rows_removed
    assert (came.columns_added, came.columns_removed) == (("part", "size"), ())
    assert (went.columns_added, went.columns_removed) == ((), ("part", "size"))


def test_names_of_columns_are_no_sql() -> None:
    odd = 'a"; drop table before; --'
    before, after = pa.table({odd: [1], "select": ["x"]}), pa.table({odd: [1], "select": ["y"]})
    assert compared(before, after, (odd,)).changed == 1
    assert compared(before, after).added == 1


def test_the_json_form_is_canonical_and_read_back() -> None:
    found = compared(table([]), pa.table({"part": ["ä"], "ratio": [1.0], "good": [True], "n": [1]}), ("part",))
    one = Changes(
        customer="shop",
        environment="dev_analytics",
        old_release="a" * 64,
        new_release="b" * 64,
        limit=5,
        rejects_before=0,
        rejects_after=1,
        vectors_before=2,
        vectors_after=3,
        tables={"marts.t": found},
    )
    data = one.canonical()
    assert Changes.model_validate_json(data) == one
    assert Changes.model_validate_json(data).canonical() == data
    assert json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == data
