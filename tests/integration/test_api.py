"""Every route of an image's data API: what it answers, how it refuses, and that it names its release."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest
from starlette.testclient import TestClient

from cradle.manifest import Manifest, read_manifest
from cradle.serve.app import create_app

pytestmark = pytest.mark.integration
HEADER = "X-Cradle-Release"
ROUTES = (
    "/health",
    "/ready",
    "/metrics",
    "/stats",
    "/tables",
    "/tables/marts.orders/rows",
    "/products/DEMO-MON-27",
    "/search?q=chair",
    "/delta/tables",
    "/delta/query/orders?limit=1",
    "/lance/datasets",
    "/release-notes",
)
ELSEWHERE = {"/sql", "/documents/{document_id}/original"}  # have tests of their own


@pytest.fixture(scope="module")
def manifest(root: Path) -> Manifest:
    return read_manifest(root)


def rows_of(root: Path, table: str, clause: str = "") -> list[dict[str, Any]]:
    """Read a table of the image without the product's code."""
    relation = duckdb.connect(":memory:").execute(f"select * from '{root}/tables/{table}.parquet' {clause}")
    names = [column[0] for column in relation.description]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


def test_the_routes_that_are_tested_are_all_there_are(api: TestClient) -> None:
    tested = {route.split("?")[0] for route in ROUTES}
    named = {"marts.orders": "{table}", "orders": "{table}", "DEMO-MON-27": "{sku}"}
    plain = {"/".join(named.get(part, part) for part in path.split("/")) for path in tested}
    assert plain | ELSEWHERE == set(api.get("/openapi.json").json()["paths"])


@pytest.mark.parametrize("route", ROUTES)
def test_each_route_answers_and_names_the_release(api: TestClient, manifest: Manifest, route: str) -> None:
    answer = api.get(route)
    assert answer.status_code == 200
    assert answer.headers.get_list(HEADER) == [manifest.release_id]
    if route == "/metrics":
        assert answer.headers["content-type"].startswith("text/plain")
        assert "cradle_ready" in answer.text
    else:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() is not None or route == "/release-notes"  # of a first release there are none


@pytest.mark.parametrize(
    ("method", "route", "status", "part"),
    [
        ("GET", "/tables/ordres/rows", 404, "marts.orders"),
        ("GET", "/tables/marts.orders/rows?colour=red", 404, "order_id"),
        ("GET", "/delta/query/ordres", 404, "marts.orders"),
        ("GET", "/products/NONE", 404, "NONE"),
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/tables/orders/rows?limit=-1", 422, "limit"),
        ("GET", "/tables/orders/rows?limit=1001", 422, "limit"),
        ("GET", "/tables/orders/rows?offset=x", 422, "offset"),
        ("GET", "/search", 422, "q"),
        ("GET", "/search?q=", 422, "q"),
        ("GET", "/search?q=a&k=0", 422, "k"),
        ("POST", "/tables/orders/rows", 405, "Not Allowed"),
        ("DELETE", "/products/DEMO-MON-27", 405, "Not Allowed"),
        ("PUT", "/health", 405, "Not Allowed"),
    ],
)
def test_a_refusal_says_why_and_names_the_release(
    api: TestClient, manifest: Manifest, method: str, route: str, status: int, part: str
) -> None:
    answer = api.request(method, route)
    assert answer.status_code == status
    assert answer.headers.get_list(HEADER) == [manifest.release_id]
    assert part in json.dumps(answer.json()["detail"])


def test_health_and_stats_keep_the_keys_of_the_earlier_api(api: TestClient, manifest: Manifest, root: Path) -> None:
    health, stats = api.get("/health").json(), api.get("/stats").json()
    assert health["status"] == "healthy"
    assert health["capabilities"] == {"tables": True, "search": True}
    assert sorted(health["delta_tables"]) == sorted(name.split(".")[1] for name in manifest.tables)
    assert health["lance_datasets"] == api.get("/lance/datasets").json()["datasets"] == ["embeddings.lance"]
    assert health["delta_tables"] == api.get("/delta/tables").json()["tables"]
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and path.name != "manifest.json")
    assert (stats["delta_tables"], stats["lance_datasets"]) == (len(manifest.tables), 1)
    assert stats["total_size_mb"] == round(size / 1_000_000, 2)
    assert stats["rows"] == {name: len(rows_of(root, name)) for name in manifest.tables}
    assert stats["vectors"] == stats["rows"]["marts.products_chunks"] + stats["rows"]["marts.general_chunks"]


def test_pages_together_are_the_table_in_the_order_of_its_key(api: TestClient, manifest: Manifest, root: Path) -> None:
    for table, entry in manifest.tables.items():
        found: list[dict[str, Any]] = []
        while len(found) < entry.rows:
            page = api.get(f"/tables/{table}/rows", params={"limit": 331, "offset": len(found)}).json()
            assert page["total"] == entry.rows
            assert page["rows"]
            found += page["rows"]
        order = ", ".join(f'"{name}"' for name in entry.key)
        keys = [[str(row[name]) for name in entry.key] for row in rows_of(root, table, f"order by {order}")]
        assert [[str(row[name]) for name in entry.key] for row in found] == keys
        assert list(found[0]) == [column.name for column in entry.columns]


def test_the_earlier_path_answers_the_same_page(api: TestClient) -> None:
    query = {"limit": 3, "offset": 2, "region": "South"}
    old, new = api.get("/delta/query/orders", params=query), api.get("/tables/marts.orders/rows", params=query)
    assert old.content == new.content
    assert api.get("/delta/query/orders", params={"limit": 1}).json()["total"] == 1000


@pytest.mark.parametrize(
    ("filters", "clause"),
    [
        ({"region": "South"}, "where region = 'South'"),
        ({"region": "South", "product": "Mouse"}, "where region = 'South' and product = 'Mouse'"),
        ({"order_date": "2024-03-22"}, "where order_date = date '2024-03-22'"),
        ({"quantity": "3"}, "where quantity = 3"),
        ({"amount": "504.89"}, "where amount = 504.89"),
        ({"amount": "504.8900"}, "where amount = 504.89"),
        ({"amount": "504.89001"}, "where false"),
        ({"quantity": "3.4"}, "where false"),
        ({"quantity": "many"}, "where false"),
        ({"region": "' or 1=1 --"}, "where false"),
    ],
)
def test_a_filter_keeps_the_rows_whose_column_equals_the_value(
    api: TestClient, root: Path, filters: dict[str, str], clause: str
) -> None:
    expected = rows_of(root, "marts.orders", clause)
    answer = api.get("/tables/orders/rows", params={"limit": 1000, **filters}).json()
    assert answer["total"] == len(expected)
    assert {row["order_id"] for row in answer["rows"]} == {row["order_id"] for row in expected}


def test_a_decimal_keeps_every_digit(api: TestClient, root: Path) -> None:
    (row,) = rows_of(root, "marts.orders", "where order_id = 'ORD-0001'")
    text = api.get("/tables/orders/rows", params={"order_id": "ORD-0001"}).text
    assert f'"amount":{row["amount"]}' in text
    assert str(row["amount"]) == "504.8900"


def test_a_product_by_its_key_is_the_row_of_its_table(api: TestClient, root: Path) -> None:
    skus = [row["sku"] for row in rows_of(root, "marts.syndication_products")]
    assert len(skus) == 7
    for sku in skus:
        page = api.get("/tables/marts.syndication_products/rows", params={"sku": sku}).text
        assert api.get(f"/products/{sku}").text in page


def test_search_finds_the_meaning_and_keeps_to_its_filters(api: TestClient, root: Path) -> None:
    found = api.get("/search", params={"q": "something to sit on in the office", "k": 3}).json()
    assert found["hits"][0]["sku"] == "DEMO-CHA-07"
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    chunks = {row["chunk_id"]: row["text"] for row in rows_of(root, "marts.general_chunks")}
    general = api.get("/search", params={"q": "chair", "k": 100, "corpus": "general"}).json()["hits"]
    assert {hit["chunk_id"]: hit["text"] for hit in general} == chunks
    one = api.get("/search", params={"q": "chair", "k": 100, "sku": "DEMO-MON-27"}).json()["hits"]
    assert {hit["sku"] for hit in one} == {"DEMO-MON-27"}
    document = general[0]["document_id"]
    by_document = api.get("/search", params={"q": "chair", "k": 100, "document_id": document}).json()["hits"]
    assert {hit["document_id"] for hit in by_document} == {document}
    for nothing in ({"sku": "NONE"}, {"corpus": "general", "sku": "DEMO-MON-27"}):
        assert api.get("/search", params={"q": "chair", **nothing}).json()["hits"] == []


def test_answers_at_the_same_time_are_those_given_one_by_one(api: TestClient) -> None:
    routes = [f"/tables/orders/rows?limit=50&offset={at * 10}" for at in range(20)]
    routes += [f"/search?q=question {at}" for at in range(10)] + ["/products/DEMO-MON-27"] * 10
    alone = [api.get(route).content for route in routes]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda route: api.get(route).content, routes)) == alone


def test_openapi_describes_every_route_parameter_and_answer(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        assert list(methods) == (["post"] if path == "/sql" else ["get"]), f"{path} is not read-only"
        (route,) = methods.values()
        assert route["summary"]
        assert route["tags"]
        media = {"/metrics": "text/plain", "/documents/{document_id}/original": "*/*"}.get(path, "application/json")
        assert route["responses"]["200"]["content"][media]["schema"], path
        for parameter in route.get("parameters", []):
            told = {**parameter, **parameter["schema"]}
            assert told.get("description"), f"{path}: {parameter['name']} has no description"
            assert told.get("examples"), f"{path}: {parameter['name']} has no example"
        for status, answer in route["responses"].items():
            assert answer["description"], f"{path}: {status}"
    for name, schema in document["components"]["schemas"].items():
        if name not in ("HTTPValidationError", "ValidationError"):
            assert schema.get("description"), name


def test_the_page_of_the_api_needs_no_network(api: TestClient) -> None:
    page = api.get("/docs").text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(linked) >= 2
    for path in linked:
        assert path.startswith("/"), f"{path} is on another machine"
        assert api.get(path).status_code == 200


def copied(root: Path, to: Path) -> Path:
    """Copy an image so that its files may be changed."""
    return Path(shutil.copytree(root, to / "root"))


def test_a_damaged_encoder_costs_the_search_and_not_the_tables(root: Path, manifest: Manifest, tmp_path: Path) -> None:
    copy = copied(root, tmp_path)
    (copy / "encoder" / "model.onnx").write_bytes(b"no model")
    with TestClient(create_app(copy)) as client:
        health = client.get("/health").json()
        assert (health["status"], health["capabilities"]) == ("degraded", {"tables": True, "search": False})
        assert "encoder" in health["problem"]
        answer = client.get("/search", params={"q": "chair", "mode": "semantic"})
        assert (answer.status_code, answer.headers[HEADER]) == (503, manifest.release_id)
        assert client.get("/search", params={"q": "chair"}).json()["mode"] == "lexical"
        assert client.get("/tables/orders/rows").status_code == 200


def test_an_unforeseen_error_names_the_release_too(root: Path, manifest: Manifest, tmp_path: Path) -> None:
    copy = copied(root, tmp_path)
    with TestClient(create_app(copy), raise_server_exceptions=False) as client:
        (copy / "tables" / "marts.orders.parquet").write_bytes(b"")
        answer = client.get("/tables/orders/rows")
        assert (answer.status_code, answer.headers[HEADER]) == (500, manifest.release_id)


def test_tables_can_be_read_from_the_image_only(root: Path, tmp_path: Path) -> None:
    from cradle.serve.store import Store

    outside = tmp_path / "outside.csv"
    outside.write_text("a\n1\n")
    store = Store(root)
    with pytest.raises(duckdb.PermissionException):
        store._con.execute(f"select * from '{outside}'")
    with pytest.raises(duckdb.InvalidInputException):
        store._con.execute("set enable_external_access = true")
