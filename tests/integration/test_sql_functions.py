"""Every function that SQL from outside may call: it passes the gate and gives what DuckDB gives without it."""

from __future__ import annotations

import duckdb
import pytest

from cradle.serve.gate import Gate
from cradle.serve.grammar import ALLOWED

pytestmark = pytest.mark.integration
# Arguments that are tried; DuckDB refuses those that a function doesn't take.
ARGUMENTS = r"""
|quantity|amount|amount::double / 1000|region|day|quantity > 1|day::timestamp|day::timestamptz|1.5
region, 'o'|region, product|quantity, 2|amount::double, quantity::double|amount, quantity|amount, 0.5|region, 2
'month', day|'month', day, date '2024-06-01'|day, '%d.%m.%Y'|'2024-01-02', '%Y-%m-%d'|day, interval 1 day
interval 1 day, day|2024, 1, 2|2024, 1, 2, 3, 4, 5.5|[3, 1, 2]|[3, 1, 2], 1|[3, 1, 2], [1]|[3, 1, 2], 1, 2
[3, 1, 2], 'sum'|[3, 1, 2], lambda x: x > 1|[[1], [2]]|['a', 'b'], ','|region, 'o', 'x'|region, 1, 2
region, 'o', 1|',', region, product|map {'a': 1}|map {'a': 1}, 'a'|['a'], [1]|[{'k': 1, 'v': 2}]|{'a': 1}, 'a'
'{"a": [1, 2]}'|'{"a": [1, 2]}', '$.a'|year from day|'o' in region|date '2024-06-01', day|'utc', day::timestamp
100, 7|0, 5|quantity > 1, 'a'|quantity > 1, 'a', 'b'|region, 'o', 'a', 'b'|day, 2|region, 'a%', '!'
"""
# Written without brackets, or of use only with GROUPING SETS; tried in tests of their own.
NO_CALLS = {"current_date", "current_timestamp", "grouping", "grouping_id", "cast", "try_cast"}
# Another answer each time, an answer that differs in the last place, or in a name that was not given.
UNLIKE = {"now", "log2", "struct_pack"}
NAMES = sorted(name for name in ALLOWED if name[0].isalpha() and name not in NO_CALLS)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    """A few rows of every kind of value."""
    made = duckdb.connect(":memory:")
    made.execute("create schema marts")
    made.execute(
        "create table marts.t as select * from (values (1, 'South', 'Mouse', 504.8900::decimal(18, 4), "
        "date '2024-01-05'), (3, 'North', 'Chair', 20.5, '2024-02-29'), (2, 'Südost', null, -1, '2023-12-31')) "
        "v(quantity, region, product, amount, day)"
    )
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_function_gives_behind_the_gate_what_it_gives_without(con: duckdb.DuckDBPyConnection, name: str) -> None:
    gate, tried = Gate(["marts.t"], con), 0
    for given in ARGUMENTS.strip("\n").replace("\n", "|").split("|"):
        for over in ("", " over (order by quantity)"):
            query = f"select {name}({given}){over} as r from marts.t order by all limit 9"
            try:
                expected = con.execute(query).fetchall()
            except duckdb.Error:
                continue
            if not given and name.endswith("_concat"):  # sqlglot wants a list there
                continue
            found = con.execute(gate.check(query, 100).sql).fetchall()
            assert name in UNLIKE or str(found) == str(expected), query
            tried += 1
    assert tried, f"{name} takes none of the arguments, or DuckDB has no such function"


@pytest.mark.parametrize(
    "query",
    [
        (
            "select grouping(region) as g, grouping_id(region, product) as i, count(*) as n from marts.t "
            "group by cube (region, product) order by all"
        ),
        "select cast('1' as integer) + try_cast('x' as integer) as a, '2'::bigint as b",
        "select current_date >= date '2024-01-01' as a, current_timestamp >= timestamp '2024-01-01' as b",
        (
            "select -quantity, +quantity, ~quantity, quantity % 2, quantity // 2, quantity ** 2, quantity ^ 2, "
            "quantity & 1, quantity | 4, quantity << 1, quantity >> 1, amount / 3, amount - 1.5, "
            "amount * 2 from marts.t order by 1"
        ),
        (
            "select region like 'S%', region not like '_o%', region ilike 's%', region similar to 'S.*', "
            "region ~ 'S.*', region || product, region not in ('South'), product is null, "
            "region is distinct from product from marts.t order by all"
        ),
        (
            "select quantity between 1 and 2, not quantity = 1, quantity != 2 and quantity <> 3 or quantity <= 1, "
            "case quantity when 1 then 'a' else 'b' end from marts.t order by all"
        ),
        "select day + interval 1 month, day - date '2024-01-01', day at time zone 'utc' from marts.t order by all",
        "select [x + 1 for x in [1, 2] if x > 1], [1, 2, 3][2], [1, 2, 3][1:2], {'a': 1}.a, map {'a': 1}['a']",
        "select * exclude (day) replace (quantity + 1 as quantity) from marts.t order by all",
        "select columns('quan.*|amount') from marts.t order by all",
        (
            "select lag(quantity) over w, first_value(product ignore nulls) over w, "
            "sum(amount) filter (where quantity > 1) over w from marts.t "
            "window w as (partition by region order by day rows between 1 preceding and current row) order by all"
        ),
        "select distinct on (product) product, region from marts.t order by product, region",
        "select a.region from marts.t a asof join marts.t b on a.day >= b.day order by 1",
        "select a.region from marts.t a anti join marts.t b on a.quantity = b.quantity + 1 order by 1",
        "select t.region, u.x from marts.t t, unnest([1, 2]) u(x) order by all",
        "select t.region, s.m from marts.t t, lateral (select t.quantity + 1 as m) s order by 1",
        "(select 1 as a union all select 2) except select 2 union select 3 intersect select 3 order by 1",
        """select json_extract('{"a": {"b": 1}}', '$.a.b'), '{"a": 1}'::json -> 'a', '{"a": "x"}'::json ->> '$.a' """,
    ],
)
def test_a_part_of_the_language_gives_behind_the_gate_what_it_gives_without(
    con: duckdb.DuckDBPyConnection, query: str
) -> None:
    expected = con.execute(query).fetchall()
    assert str(con.execute(Gate(["marts.t"], con).check(query, 100).sql).fetchall()) == str(expected)
    assert expected
