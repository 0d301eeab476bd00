"""Rows of the data API: columns, order, formats, pages that name the next, entity tags, and limits."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cradle.errors import Unavailable
from cradle.manifest import read_manifest
from cradle.serve.app import create_app
from cradle.serve.bounds import Bounds
from cradle.serve.deadline import TooSlow, within
from cradle.serve.formats import MEDIA_TYPES

pytestmark = pytest.mark.integration
ORDERS = "/tables/marts.orders/rows"
PROBLEM = {"type", "title", "status", "detail"}


def table_of(root: Path, query: str) -> pa.Table:
    """Read a table of the image without the product's code."""
    con = duckdb.connect(":memory:")
    return con.execute(query.replace("orders", f"'{root}/tables/marts.orders.parquet'")).to_arrow_table()


def read_back(kind: str, content: bytes) -> pa.Table:
    """Read a file as its user would."""
    if kind == "parquet":
        return pq.read_table(io.BytesIO(content))
    if kind == "arrow":
        return ipc.open_stream(content).read_all()
    if kind == "csv":
        return pcsv.read_csv(io.BytesIO(content))
    return pa.Table.from_pylist([json.loads(line) for line in content.splitlines()])


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_typed_file_is_the_table(api: TestClient, root: Path, kind: str) -> None:
    answer = api.get(ORDERS, params={"format": kind})
    expected = table_of(root, "select * from orders")
    assert answer.headers["content-type"] == MEDIA_TYPES[kind]  # type: ignore[index]
    assert answer.headers["x-total-count"] == "1000"
    assert "marts.orders" in answer.headers["content-disposition"]
    found = read_back(kind, answer.content)
    assert found.schema.names == expected.schema.names
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_text_file_holds_every_value_as_it_is_written(api: TestClient, root: Path, kind: str) -> None:
    answer = api.get(ORDERS, params={"format": kind, "columns": "order_id,amount,quantity"})
    expected = table_of(root, "select order_id, amount::varchar amount, quantity from orders").to_pylist()
    assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[kind]  # type: ignore[index]
    lines = answer.text.splitlines()
    if kind == "csv":
        assert lines.pop(0) == '"order_id","amount","quantity"'
        assert lines == [f'"{row["order_id"]}",{row["amount"]},{row["quantity"]}' for row in expected]
    else:
        cells = '"order_id":"{order_id}","amount":{amount},"quantity":{quantity}'
        assert lines == ["{" + cells.format(**row) + "}" for row in expected]


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_every_table_is_answered_in_every_format(api: TestClient, root: Path, kind: str) -> None:
    for name, entry in read_manifest(root).tables.items():
        answer = api.get(f"/tables/{name}/rows", params={"format": kind, "limit": 7})
        assert answer.status_code == 200
        assert answer.headers["x-total-count"] == str(entry.rows)
        rows = answer.json()["rows"] if kind == "json" else read_back(kind, answer.content).to_pylist()
        assert len(rows) == min(7, entry.rows)
        assert list(rows[0]) == [column.name for column in entry.columns]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("text/csv", "text/csv"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("application/x-ndjson", "application/jsonl"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/csv;q=0.2, application/vnd.apache.arrow.stream;q=0.9", "application/vnd.apache.arrow.stream"),
        ("application/json;q=0, text/csv;q=0.1", "text/csv"),
        ("", "application/json"),
    ],
)
def test_the_format_follows_accept_unless_it_is_named(api: TestClient, accept: str, media: str) -> None:
    answer = api.get(ORDERS, params={"limit": 1}, headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == media
    named = api.get(ORDERS, params={"limit": 1, "format": "json"}, headers={"Accept": accept})
    assert named.headers["content-type"] == "application/json"


def test_what_accepts_no_format_is_told_which_there_are(api: TestClient) -> None:
    answer = api.get(ORDERS, headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert all(media in answer.json()["detail"] for media in MEDIA_TYPES.values())


def test_columns_and_order_are_those_asked_for(api: TestClient, root: Path) -> None:
    answer = api.get(ORDERS, params={"columns": "amount,order_id", "sort": "-amount,product", "limit": 1000}).json()
    expected = table_of(root, "select order_id from orders order by amount desc, product, order_id, order_line")
    assert [list(row) for row in answer["rows"]] == [["amount", "order_id"]] * 1000
    assert [row["order_id"] for row in answer["rows"]] == expected["order_id"].to_pylist()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sort=st.lists(st.sampled_from(["amount", "-amount", "region", "-order_date", "quantity"]), max_size=3, unique=True),
    limit=st.integers(90, 400),
    region=st.sampled_from([None, "South", "North", "none"]),
    kind=st.sampled_from(sorted(MEDIA_TYPES)),
)
def test_following_the_links_gives_each_row_once_in_one_order(
    api: TestClient, root: Path, sort: list[str], limit: int, region: str | None, kind: str
) -> None:
    names = [name.lstrip("-") for name in sort]
    if len(set(names)) < len(names):
        return
    params: dict[str, Any] = {"limit": limit, "format": kind, "columns": "order_id,order_line"}
    params |= {"sort": ",".join(sort)} if sort else {}
    params |= {"region": region} if region else {}
    answer, found = api.get(ORDERS, params=params), list[Any]()
    while True:
        assert answer.status_code == 200
        found += answer.json()["rows"] if kind == "json" else read_back(kind, answer.content).to_pylist()
        following = answer.links.get("next")
        if following is None:
            break
        answer = api.get(following["url"])
    order = ", ".join(f"{name.lstrip('-')}{' desc' if name.startswith('-') else ''}" for name in sort)
    where = f"where region = '{region}'" if region else ""
    expected = table_of(
        root,
        f"select order_id, order_line from orders {where} order by {order + ',' if order else ''} order_id, order_line",
    )
    assert found == expected.to_pylist()


@pytest.mark.parametrize(
    ("query", "status", "part"),
    [
        ("columns=order_id,colour", 404, "colour"),
        ("sort=colour", 404, "colour"),
        ("sort=-", 422, "empty"),
        ("columns=", 422, "empty"),
        ("columns=region,region", 422, "more than once"),
        ("sort=region,-region", 422, "more than once"),
        ("region=South&region=North", 422, "more than once"),
        ("region=South&filter.region=North", 422, "with and without"),
        ("limit=1&limit=2", 422, "more than once"),
        ("format=xlsx", 422, "parquet"),
        ("limit=1001", 422, "1,000"),
        ("limit=1000001&format=csv", 422, "1000000"),
        ("offset=-1", 422, "offset"),
        ("offset=99999999999999999999", 422, "offset"),
        ("limit=ten", 422, "limit"),
    ],
)
def test_a_wrong_wish_is_refused_clearly(api: TestClient, query: str, status: int, part: str) -> None:
    answer = api.get(f"{ORDERS}?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert set(found) >= PROBLEM
    assert found["status"] == status
    assert part in found["detail"]
    assert ("errors" in found) == (status == 422)


@pytest.mark.parametrize("route", ["/tables?x=1", "/search?q=chair&top=3", "/products/DEMO-MON-27?x=", "/stats?a=b"])
def test_a_parameter_that_the_route_does_not_know_is_refused(api: TestClient, route: str) -> None:
    answer = api.get(route)
    assert answer.status_code == 422
    assert "unknown parameter" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "route", "status"),
    [("GET", "/nowhere", 404), ("POST", ORDERS, 405), ("GET", "/search?q=", 422), ("GET", "/products/NONE", 404)],
)
def test_every_error_is_a_problem(api: TestClient, method: str, route: str, status: int) -> None:
    answer = api.request(method, route)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["title"]
    assert isinstance(answer.json()["detail"], str)
    if status == 405:
        assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("route", [ORDERS, f"{ORDERS}?format=csv&region=South", "/tables", "/products/DEMO-MON-27"])
def test_an_answer_that_the_client_has_is_not_sent_again(api: TestClient, root: Path, route: str) -> None:
    first = api.get(route)
    tag = first.headers["etag"]
    assert read_manifest(root).release_id[:16] in tag
    for known in (tag, f'"other", {tag}', "*"):
        again = api.get(route, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get(route, headers={"If-None-Match": 'W/"other"'}).content == first.content


def test_another_question_has_another_tag(api: TestClient) -> None:
    routes = [ORDERS, f"{ORDERS}?limit=9", f"{ORDERS}?limit=9&offset=9", "/tables/marts.daily_revenue/rows"]
    tags = {api.get(route).headers["etag"] for route in routes}
    tags.add(api.get(ORDERS, headers={"Accept": "text/csv"}).headers["etag"])
    assert len(tags) == 5
    assert api.get(f"{ORDERS}?limit=-1", headers={"If-None-Match": "*"}).status_code == 422


def test_answers_are_compressed_for_who_can_read_it(api: TestClient) -> None:
    for kind, packed in (("json", True), ("csv", True), ("arrow", True), ("parquet", False)):
        params = {"format": kind, "limit": 1000}
        with api.stream("GET", ORDERS, params=params, headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join(answer.iter_raw())
            assert (answer.headers.get("content-encoding") == "gzip") == packed
        plain = api.get(ORDERS, params=params, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        if kind != "parquet":
            assert _content(kind, gzip.decompress(raw)) == _content(kind, plain.content)
            assert len(raw) < len(plain.content) / 2


def _content(kind: str, body: bytes) -> Any:
    """Return what an answer says; where Arrow's batches end depends on how busy the machine is."""
    return ipc.open_stream(body).read_all().combine_chunks() if kind == "arrow" else body


def test_too_long_addresses_and_bodies_are_refused(api: TestClient, root: Path) -> None:
    long = api.get(ORDERS, params={"region": "x" * 9000})
    assert (long.status_code, long.headers["content-type"]) == (414, "application/problem+json")
    assert long.headers["X-Cradle-Release"] == read_manifest(root).release_id
    assert api.get(ORDERS, params={"region": "x" * 7000}).status_code == 200
    assert api.post(ORDERS, content=b"x" * 70_000).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(70):
            yield b"x" * 1000

    assert api.post(ORDERS, content=pieces()).status_code == 413
    assert api.post(ORDERS, content=b"x" * 60_000).status_code == 405


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_query_that_takes_too_long_is_ended(root: Path, tmp_path: Path, kind: str) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "root"))
    path = copy / "tables" / "marts.orders.parquet"
    columns = ", ".join(
        f"hash(i, {at})::varchar::{one['column_type']} as {one['column_name']}"
        if one["column_type"] == "VARCHAR"
        else f"null::{one['column_type']} as {one['column_name']}"
        for at, one in enumerate(table_of(root, "describe select * from orders").to_pylist())
    )
    duckdb.connect(":memory:").execute(f"copy (select {columns} from range(400000) t(i)) to '{path}'")
    with TestClient(create_app(copy, bounds=Bounds(seconds=0.02))) as client:
        answer = client.get(ORDERS, params={"sort": "-product", "format": kind})
        assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
        assert "0.02 s" in answer.json()["detail"]
        assert client.get("/tables/marts.daily_revenue/rows", params={"limit": 1}).status_code in (200, 504)


@pytest.mark.parametrize("lazily", [False, True])
def test_duckdb_s_limits_are_told_as_what_they_are(lazily: bool) -> None:
    """Also where Arrow reads while DuckDB computes."""

    def run(con: duckdb.DuckDBPyConnection, query: str) -> None:
        if lazily:
            for _ in con.execute(query).to_arrow_reader(1000):
                pass
        else:
            con.execute(query).fetchall()

    con = duckdb.connect(":memory:", config={"memory_limit": "50MB", "temp_directory": ""})
    with pytest.raises(TooSlow, match=r"0\.1 s"), within(con, 0.1):
        run(con, "select i from range(1000000000000) t(i) where i % 1000000 = 999999 and hash(i) = 0")
    with pytest.raises(Unavailable, match="memory"), within(con, 60):
        run(con, "select * from range(100000000) t(i) order by hash(i)")
    with pytest.raises(duckdb.BinderException), within(con, 60):
        run(con, "select nope")
    with within(con, 60):
        run(con, "select 1")


def test_files_are_written_by_a_bounded_number_at_once(root: Path) -> None:
    with TestClient(create_app(root, bounds=Bounds(files=0))) as client:
        answer = client.get(ORDERS, params={"format": "csv"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert client.get(ORDERS).status_code == 200
    with TestClient(create_app(root, bounds=Bounds(files=1))) as client:
        assert {client.get(ORDERS, params={"format": "csv"}).status_code for _ in range(5)} == {200}


def test_a_damaged_file_is_a_problem_in_every_format(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "root"))
    with TestClient(create_app(copy), raise_server_exceptions=False) as client:
        (copy / "tables" / "marts.orders.parquet").write_bytes(b"")
        for kind in MEDIA_TYPES:
            answer = client.get(ORDERS, params={"format": kind})
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
            assert str(copy) not in answer.text
