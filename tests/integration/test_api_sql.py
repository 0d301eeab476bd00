"""SQL through the data API: what is answered, what each wall refuses, and what a statement may cost."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cradle.access import new_key, write_keys
from cradle.config import PROJECT, clean_environment
from cradle.manifest import Manifest, read_manifest
from cradle.serve import audit
from cradle.serve.app import create_app
from cradle.serve.bounds import Bounds
from cradle.serve.gate import Gate, Refused
from cradle.serve.sql import Runner
from cradle.serve.worker import opened

pytestmark = pytest.mark.integration
OUTSIDE = "canary-4f1c9a"

# Statements that must be refused, and what the refusal names. {file} is no file of the image, {image} its folder.
HOSTILE = [
    ("select * from read_csv('{file}')", "read_csv"),
    ("select * from read_csv_auto('{file}')", "read_csv"),
    ("select * from read_parquet('{image}/tables/*.parquet')", "read_parquet"),
    ("select * from parquet_scan('{image}/tables/marts.orders.parquet')", "parquet"),
    ("select * from parquet_metadata('{image}/tables/marts.orders.parquet')", "parquet_metadata"),
    ("select * from read_json('{file}')", "read_json"),
    ("select * from read_text('{file}')", "read_text"),
    ("select * from read_blob('{file}')", "read_blob"),
    ("select content from read_text('{file}') union all select region from orders", "read_text"),
    ("select * from glob('/etc/*')", "glob"),
    ("select * from sniff_csv('{file}')", "sniff_csv"),
    ("select * from '{file}'", "{file}"),
    ('select * from "{file}"', "{file}"),
    ("from '{file}'", "{file}"),
    ("select * from orders, '{file}' x", "{file}"),
    ("with a as (select * from '{file}') select * from a", "{file}"),
    ('with "{file}" as (select 1) select * from "{file}"', "{file}"),
    ("select * from 'https://example.com/x.parquet'", "https://"),
    ("select * from 's3://bucket/x.parquet'", "s3://"),
    ("select (select max(content) from read_text('{file}'))", "read_text"),
    ("select region from orders where region in (select content from read_text('{file}'))", "read_text"),
    ("select region from orders order by (select count(*) from glob('*'))", "glob"),
    ("copy orders to '{file}.out'", "COPY"),
    ("copy (select 1) to '{file}.out'", "COPY"),
    ("export database '{file}.out'", "EXPORT"),
    ("import database '{file}.out'", "IMPORT"),
    ("attach '{file}' as x", "ATTACH"),
    ("detach memory", "DETACH"),
    ("use memory", "USE"),
    ("install httpfs", "INSTALL"),
    ("load httpfs", "LOAD"),
    ("set enable_external_access = true", "SET"),
    ("reset memory_limit", "RESET"),
    ("set variable a = 1", "SET"),
    ("pragma database_list", "PRAGMA"),
    ("pragma enable_profiling", "PRAGMA"),
    ("call pragma_version()", "CALL"),
    ("select * from pragma_version()", "pragma_version"),
    ("select * from duckdb_settings()", "duckdb_settings"),
    ("select * from duckdb_databases()", "duckdb_databases"),
    ("select * from duckdb_views()", "duckdb_views"),
    ("select * from information_schema.tables", "information_schema"),
    ("select * from pg_catalog.pg_tables", "pg_catalog"),
    ("select * from sqlite_master", "sqlite_master"),
    ("select * from query_table('orders')", "query_table"),
    ("select * from query('select 1')", "query"),
    ("select getenv('HOME')", "getenv"),
    ("select \"getenv\"('HOME')", "getenv"),
    ("select main.getenv('HOME')", "getenv"),
    ("select upper(lower(getenv('HOME')))", "getenv"),
    ("select list_transform(['HOME'], lambda x: getenv(x))", "getenv"),
    ("select getvariable('a')", "getvariable"),
    ("select current_setting('memory_limit')", "current_setting"),
    ("select current_user, session_user", "CURRENT"),
    ("select version()", "version"),
    ("select write_log('x')", "write_log"),
    ("select nextval('x')", "nextval"),
    ("select repeat('ab', 1000000000)", "repeat"),
    ("select levenshtein('a', 'b')", "levenshtein"),
    ("select lpad('a', 1000000000, 'b')", "lpad"),
    ("select printf('%1000000000d', 1)", "printf"),
    ("select /* read_csv */ sum(read_csv) over (), read_csv('x') from orders", "read_csv"),
    ("select 1; select 2", "2 statements"),
    ("select 1; drop view orders", "2 statements"),
    ("select 1 -- \n; delete from orders", "2 statements"),
    ("insert into orders select * from orders", "INSERT"),
    ("update orders set region = 'x'", "UPDATE"),
    ("delete from orders", "DELETE"),
    ("drop view marts.orders", "DROP"),
    ("create table x as select 1", "CREATE"),
    ("create macro f() as 1", "CREATE"),
    ("create or replace view marts.orders as select 1", "CREATE"),
    ("alter view marts.orders rename to x", "ALTER"),
    ("truncate orders", "TRUNCATE"),
    ("begin", "BEGIN"),
    ("checkpoint", "CHECKPOINT"),
    ("vacuum", "VACUUM"),
    ("explain analyze select 1", "EXPLAIN"),
    ("describe orders", "DESCRIBE"),
    ("summarize orders", "SUMMARIZE"),
    ("show tables", "SHOW"),
    ("select * from (describe orders)", "DESCRIBE"),
    ("prepare a as select 1", "PREPARE"),
    ("execute a", "EXECUTE"),
    ("with t as (delete from orders returning *) select * from t", "syntax"),
    ("with t as (insert into orders select 1 returning *) select * from t", "syntax"),
    ("select * into x from orders", "syntax"),
    ("pivot orders on region using sum(amount)", "PIVOT"),
    ("select * from (pivot orders on region using sum(amount))", "CREATE"),
    ("select * from orders tablesample 10%", "TABLESAMPLE"),
    ("select * from orders at (version => 1)", "HISTORICALDATA"),
    ("select $1", "PLACEHOLDER"),
    ("select * from memory.marts.orders", "memory.marts.orders"),
    ("select * from ordres", "ordres"),
    ("select * from raw.orders", "raw.orders"),
    ("select * from t where 1 in (with t as (select 1) select * from t)", "t"),
    ("select * from orders limit (select 1000000)", "limit"),
    ("select * from orders limit 10%", "LIMIT"),
    ("select $$a$$", "RAWSTRING"),
    ("select '" + "x" * 2001 + "'", "literal"),
    ("select " + "9" * 41, "literal"),
    ("select " + "(" * 41 + "1" + ")" * 41, "nesting"),
    ("select " + "1+" * 2500 + "1", "length"),
    ("select " + "not " * 1500 + "true", ""),
    ("select 1 as " + "x" * 20_000, "length"),
    ("select '\x00'", "control"),
    ("select '\ud800'", "half"),
    ("selct 1", "selct"),
    ("select 1 +", "syntax"),
    ("", ""),
    ("   ;;  -- nothing", ""),
    ("values (1)", "VALUES"),
]

# Queries that must be answered, and the same question put to the file by DuckDB alone.
ALLOWED = [
    "select count(*) as n from orders",
    "select * from orders order by order_id, order_line limit 20",
    "select region, sum(amount) as revenue, count(distinct customer_id) as c from orders group by all order by region",
    "select region, sum(amount) as r from orders group by region having sum(amount) > 1000 order by r desc, region",
    "select product, median(amount) as m, quantile_cont(amount, 0.9) as q from orders group by 1 order by 1",
    (
        "with best as (select customer_id, sum(amount) as s from orders group by 1 order by s desc, 1 limit 5) "
        "select o.customer_id, count(*) as n from orders o join best b using (customer_id) group by 1 order by 1"
    ),
    (
        "select order_date, amount, sum(amount) over (order by order_id, order_line rows 6 preceding) as moving "
        "from orders order by order_id, order_line limit 50"
    ),
    (
        "select order_id, row_number() over (partition by region order by amount desc, order_id) as place from orders "
        "qualify place <= 3 order by order_id"
    ),
    "select region, grouping(region) as g, sum(amount) as s from orders group by rollup (region) order by g, region",
    (
        "select case when amount > 500 then 'large' else 'small' end as size, count(*) as n from orders "
        "group by 1 order by 1"
    ),
    "select date_trunc('month', order_date::date) as month, sum(quantity) as units from orders group by 1 order by 1",
    "select region from orders union select product from orders order by 1",
    "select region from orders except select 'South' order by 1",
    "select distinct upper(region) || '!' as r from orders where region ilike '%o%' order by 1",
    (
        "select o.region, (select count(*) from orders i where i.region = o.region) as n from orders o "
        "group by o.region order by 1"
    ),
    "select x, (select count(*) from orders where quantity = x) as n from range(1, 6) r(x) order by x",
    "with recursive t as (select 1 as a union all select a + 1 from t where a < 10) select sum(a) as s from t",
    "select region, list(distinct product order by product) as p from orders group by region order by region",
    (
        "select a.region, b.region as other from (select distinct region from orders) a "
        "cross join (select distinct region from orders) b order by 1, 2"
    ),
    "select round(avg(amount), 2) as a, stddev_samp(quantity) as s, corr(quantity, amount) as c from orders",
    (
        "select coalesce(nullif(region, 'South'), 'none') as r, regexp_replace(product, '[aeiou]', '*', 'g') as p "
        "from orders order by order_id, order_line limit 9"
    ),
    "select exists (select 1 from orders where quantity > 1) as e, 3 in (select quantity from orders) as i",
]


@pytest.fixture(scope="module")
def manifest(root: Path) -> Manifest:
    return read_manifest(root)


@pytest.fixture(scope="module")
def gate(manifest: Manifest) -> Gate:
    return Gate(list(manifest.tables), duckdb.connect(":memory:"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that is no part of the image."""
    path = tmp_path / "outside.csv"
    path.write_text(f"a\n{OUTSIDE}\n")
    return path


def filled(statement: str, outside: Path, root: Path) -> str:
    return statement.replace("{file}", str(outside)).replace("{image}", str(root))


def expected(root: Path, query: str) -> list[dict[str, Any]]:
    """Answer a query without the product's code."""
    con = duckdb.connect(":memory:")
    con.execute(f"create view orders as select * from '{root}/tables/marts.orders.parquet'")
    return [json.loads(row[0]) for row in con.execute(f"select to_json(t)::varchar from ({query}) t").fetchall()]


@pytest.mark.parametrize("query", ALLOWED)
def test_an_analyst_s_query_is_answered_as_duckdb_answers_it(api: TestClient, root: Path, query: str) -> None:
    answer = api.post("/sql", json={"sql": query})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["rows"] == expected(root, query)
    assert found["rows"]
    assert [column["name"] for column in found["columns"]] == list(found["rows"][0])
    assert not found["truncated"]


@pytest.mark.parametrize(("statement", "named"), HOSTILE, ids=lambda value: str(value)[:40].encode("ascii", "replace"))
def test_the_gate_refuses_and_names_what_it_refused(
    gate: Gate, outside: Path, root: Path, statement: str, named: str
) -> None:
    with pytest.raises(Refused) as caught:
        gate.check(filled(statement, outside, root), 10)
    assert filled(named, outside, root).lower() in caught.value.what.lower()
    assert caught.value.detail


# The process is the wall for what costs memory.
LIGHT = [statement for statement, _ in HOSTILE if "1000000000" not in statement]


@pytest.mark.parametrize("statement", LIGHT, ids=lambda value: value[:40].encode("ascii", "replace"))
def test_the_engine_alone_lets_nothing_out(manifest: Manifest, outside: Path, root: Path, statement: str) -> None:
    """Without the gate: no file beside the tables is read, and none is written."""
    con = opened({name: str(root / entry.file) for name, entry in manifest.tables.items()}, 256, 1)
    before = sorted(outside.parent.iterdir())
    try:
        ran = con.execute(filled(statement, outside, root))
        found = ran.fetchall() if ran else []
    except (duckdb.Error, UnicodeError):
        found = []
    assert OUTSIDE not in str(found)
    assert "daemon:" not in str(found)
    assert os.environ.get("HOME", "/root") not in [str(cell) for row in found for cell in row]
    assert sorted(outside.parent.iterdir()) == before
    for change in ("set enable_external_access = true", "set allowed_paths = ['/']", "set lock_configuration = false"):
        with pytest.raises(duckdb.Error):
            con.execute(change)


def test_the_engine_reads_its_tables_and_neither_keys_nor_manifest(manifest: Manifest, root: Path) -> None:
    con = opened({name: str(root / entry.file) for name, entry in manifest.tables.items()}, 256, 1)
    assert con.execute("select count(*) from marts.orders").fetchall() == [(1000,)]
    indices = [entry.key_index for entry in manifest.tables.values() if entry.key_index]
    for name in ("manifest.json", *indices):
        assert (root / name).exists()
        with pytest.raises(duckdb.PermissionException):
            con.execute(f"select * from read_blob('{root}/{name}')")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("select * from read_csv('x')", "read_csv"),
        ("select * from glob('*')", "glob"),
        ("select * from query_table('x')", "query_table"),
        ("select sum(1) from duckdb_settings()", "duckdb_settings"),
        ("select upper(getenv('x'))", "getenv"),
        ("select list_transform(['x'], lambda x: getenv(x))", "getenv"),
        ("select * from sum(1)", "sum"),
        ("select * from '/etc/passwd'", "/etc/passwd"),
        ("select 1 from (select * from 'x.csv') t", "x.csv"),
        ("select * from information_schema.tables", "tables"),
        ("select * from memory.marts.orders", "orders"),
        ("select * from orders", "orders"),
        ("select * from (describe marts.orders)", "show_ref"),
        ("select * from (summarize marts.orders)", "show_ref"),
        ("select $1", "parameter"),
        ("select * from marts.orders tablesample 10%", "base_table"),
    ],
)
def test_duckdb_s_own_tree_is_a_gate_of_its_own(gate: Gate, statement: str, named: str) -> None:
    gate._check_again("select sum(amount) from marts.orders", sqlglot.parse_one("select 1"))
    with pytest.raises(Refused) as caught:
        gate._check_again(statement, sqlglot.parse_one("select 1"))
    assert caught.value.what == named


def test_a_refusal_is_a_problem_that_says_what_is_allowed(api: TestClient, manifest: Manifest) -> None:
    for statement, refused, allowed in (
        ("select * from read_csv('/etc/passwd')", "read_csv", "range"),
        ("select getenv('HOME')", "getenv", "sum"),
        ("select * from ordres", "ordres", "marts.orders"),
        ("drop view orders", "DROP", "SELECT"),
    ):
        answer = api.post("/sql", json={"sql": statement})
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        found = answer.json()
        assert found["refused"] == refused
        assert allowed in found["allowed"]
        assert answer.headers["X-Cradle-Release"] == manifest.release_id


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("select nope from orders", "nope"),
        ("select region + 1 from orders", "No function matches"),
        ("select region, count(*) from orders", "GROUP BY"),
        ("select 'x'::integer", "Could not convert"),
        ("select sum(region) from orders", "sum"),
    ],
)
def test_a_query_that_duckdb_can_not_run_is_told_why(api: TestClient, root: Path, query: str, part: str) -> None:
    answer = api.post("/sql", json={"sql": query})
    assert answer.status_code == 400
    assert part in answer.json()["detail"]
    assert str(root) not in answer.text


def test_the_limit_is_kept_and_more_rows_are_told(api: TestClient) -> None:
    for sql, limit, rows, truncated in (
        ("select order_id from orders", 7, 7, True),
        ("select order_id from orders limit 3", 7, 3, False),
        ("select order_id from orders limit 7", 7, 7, False),
        ("select order_id from orders limit 900", 7, 7, True),
        ("select order_id from orders union all select order_id from orders", 10_000, 2000, False),
        ("select order_id from orders", 0, 0, True),
        ("select order_id from orders limit 5 offset 998", 10, 2, False),
    ):
        found = api.post("/sql", json={"sql": sql, "limit": limit}).json()
        assert (len(found["rows"]), found["truncated"]) == (rows, truncated), sql
    assert api.post("/sql", json={"sql": "select 1", "limit": 10_001}).status_code == 422
    assert api.post("/sql", json={"sql": "select 1", "limit": -1}).status_code == 422


def test_names_of_tables_and_columns_may_be_written_in_any_known_way(api: TestClient) -> None:
    for name in ("orders", "ORDERS", "marts.orders", 'marts."orders"', '"marts.orders"', "Marts.Orders"):
        found = api.post("/sql", json={"sql": f"select count(*) as n from {name}"}).json()
        assert (found["rows"], found["tables"]) == ([{"n": 1000}], ["marts.orders"])
    shadow = "with orders as (select 1 as a) select a from orders"
    assert api.post("/sql", json={"sql": shadow}).json()["rows"] == [{"a": 1}]
    twice = api.post("/sql", json={"sql": "select 1 as a, 2 as a, 3 as A"}).json()
    assert twice["rows"] == [{"a": 1, "a_1": 2, "A_2": 3}]


def test_decimals_keep_their_digits(api: TestClient) -> None:
    text = api.post("/sql", json={"sql": "select sum(amount) as s, 1.1::decimal(18,4) as d from orders"}).text
    rows = json.loads(text, parse_float=Decimal)["rows"]
    assert rows == [{"s": Decimal("1008492.8100"), "d": Decimal("1.1000")}]
    assert '"d":1.1000' in text


def test_what_is_no_number_is_null(api: TestClient) -> None:
    sql = "select 'nan'::double as a, ['-inf'::double, 1] as b, 'NaN \\\"Infinity' as c, {'x': 'inf'::float} as d"
    row = api.post("/sql", json={"sql": sql}).json()["rows"][0]
    assert row == {"a": None, "b": [None, 1.0], "c": 'NaN \\"Infinity', "d": {"x": None}}


BOMBS = [
    "select count(*) from range(1000000000000)",
    "select count(*) from range(1000000000) a, range(1000000000) b",
    "select max(a) from (with recursive t as (select 1 as a union all select a + 1 from t) select a from t)",
    "select list(i) from range(1000000000000) t(i)",
    "select string_agg(i::varchar, ',') from range(1000000000000) t(i)",
    "select o.* from orders o, orders a, orders b, orders c, orders d order by hash(o.order_id, a.amount)",
    "select len(list_transform(range(1000000000), lambda x: x + 1))",
    "select count(distinct i) from range(100000000000) t(i)",
    (
        "with a as (select 'x' || order_id as t from orders), b as (select string_agg(t, '') as t from a), "
        "c as (select string_agg(b.t, '') as t from b, orders), d as (select string_agg(c.t, '') as t from c, orders) "
        "select length(string_agg(d.t, '')) as n from d, orders"
    ),
]


@pytest.mark.parametrize("query", BOMBS)
def test_a_bomb_is_ended_and_the_next_query_is_answered(root: Path, manifest: Manifest, query: str) -> None:
    runner = Runner(root, manifest, Bounds(sql_seconds=2.0))
    try:
        found = runner.run(query, 10)
        assert found["verdict"] in ("late", "refused"), found
        assert found.get("refused", "memory") == "memory"
        assert runner.run("select 1 as a", 10)["rows"] == ['{"a":1}']
    finally:
        runner.close()


@pytest.mark.parametrize(
    "query",
    [
        "select repeat('ab', 1000000000) || order_id from orders",
        "select levenshtein(repeat('a', 200000), repeat('b', 200000))",
        "select lpad('a', 2000000000, 'b')",
        "select read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
    ],
)
def test_the_process_and_the_engine_hold_without_the_gate(root: Path, manifest: Manifest, query: str) -> None:
    runner = Runner(root, manifest, Bounds(sql_seconds=2.0), gate=False)
    try:
        found = runner.run(query.replace("orders", "marts.orders"), 10)
        assert found["verdict"] in ("late", "refused", "failed"), found["verdict"]
        assert "root:" not in json.dumps(found)
        assert runner.run("select 1 as a", 10)["verdict"] == "answered"
    finally:
        runner.close()


def test_a_late_statement_is_504_and_costs_the_others_nothing(root: Path) -> None:
    with TestClient(create_app(root, bounds=Bounds(sql_seconds=1.5))) as client:
        answer = client.post("/sql", json={"sql": "select count(*) from range(1000000000000)"})
        assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
        assert "1.5 s" in answer.json()["detail"]
        assert client.post("/sql", json={"sql": "select 1 as a"}).json()["rows"] == [{"a": 1}]


def test_an_answer_has_a_cap_in_bytes(root: Path) -> None:
    with TestClient(create_app(root, bounds=Bounds(sql_bytes=2_000))) as client:
        answer = client.post("/sql", json={"sql": "select * from orders"})
        assert (answer.status_code, answer.json()["refused"]) == (400, "size")
        assert client.post("/sql", json={"sql": "select * from orders limit 1"}).status_code == 200


def test_more_statements_than_processes_are_told_to_come_again(root: Path, manifest: Manifest) -> None:
    with TestClient(create_app(root, bounds=Bounds(sql_wait=0.0, sql_processes=0))) as client:
        answer = client.post("/sql", json={"sql": "select 1"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0


def test_a_process_that_was_killed_is_replaced(root: Path, manifest: Manifest) -> None:
    runner = Runner(root, manifest, Bounds())
    try:
        assert runner.run("select 1 as a", 1)["verdict"] == "answered"
        first = runner._idle[0]
        first._process.kill()
        first._process.wait()
        assert runner.run("select 2 as a", 1)["rows"] == ['{"a":2}']
        assert runner._idle[0] is not first
    finally:
        runner.close()
    assert not runner._idle


def test_the_process_has_neither_network_nor_secrets_nor_memory_without_end(root: Path, manifest: Manifest) -> None:
    runner = Runner(root, manifest, Bounds(sql_process_mb=1_500))
    try:
        runner.run("select 1", 1)
        folder = Path(f"/proc/{runner._idle[0]._process.pid}")
        limits = {line[:25].strip(): line[25:].split() for line in (folder / "limits").read_text().splitlines()}
        assert limits["Max address space"][:2] == [str(1_500 << 20)] * 2
        assert limits["Max file size"][:2] == ["0", "0"]
        assert limits["Max core file size"][:2] == ["0", "0"]
        names = {one.split(b"=")[0] for one in (folder / "environ").read_bytes().split(b"\0") if one}
        assert not [name for name in names if name.startswith((b"CRADLE", b"AWS", b"PYTEST"))]
    finally:
        runner.close()


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="select*from ordws('\"/.;)(-$\n,=[]{}x1éẞ\u202e", max_size=80))
def test_no_text_makes_the_gate_fail_otherwise(gate: Gate, text: str) -> None:
    try:
        checked = gate.check(f"select {text}", 5)
    except Refused:
        return
    assert set(checked.tables) <= set(gate.tables)


SERVER = """
import sys
from pathlib import Path
from cradle.manifest import read_manifest
from cradle.serve.bounds import Bounds
from cradle.serve.sql import Runner
root = Path(sys.argv[1])
runner = Runner(root, read_manifest(root), Bounds(sql_seconds=600))
runner.run("select 1", 1)
print(runner._idle[0]._process.pid, flush=True)
runner.run("select count(*) from range(1000000000000)", 1)
"""


def test_a_process_ends_with_the_service_also_in_the_middle_of_a_statement(root: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", SERVER, str(root)],
        env={**clean_environment(), "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        ended = os.pidfd_open(int(server.stdout.readline()))
        server.kill()
        server.wait(30)
        ready, _, _ = select.select([ended], [], [], 30)
        assert ready, "the process of the statement lives on"
        os.close(ended)
    finally:
        server.kill()
        server.wait(30)
        server.stdout.close()  # type: ignore[union-attr]


def test_each_statement_is_audited_with_its_verdict(root: Path, tmp_path: Path) -> None:
    key, record = new_key("reader")
    write_keys(tmp_path, [record])
    with TestClient(create_app(root, state=tmp_path, access=True)) as client:
        for sql in ("select region from orders limit 2", f"select getenv('{key}')", "select nope from orders"):
            client.post("/sql", json={"sql": sql}, headers={"X-API-Key": key})
        assert client.post("/sql", json={"sql": "select 1"}).status_code == 401
    lines = [json.loads(line) for line in (tmp_path / audit.FILE).read_text().splitlines()]
    assert [(line["status"], line.get("verdict"), line["rows"]) for line in lines] == [
        (200, "answered", 2),
        (400, "refused: getenv", None),
        (400, "failed", None),
        (401, None, None),
    ]
    assert lines[0]["sql"] == "select region from orders limit 2"
    assert key not in (tmp_path / audit.FILE).read_text()
