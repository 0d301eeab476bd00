"""Search of an image: both ways and each, article numbers, filters on any attribute, and images without its index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from starlette.testclient import TestClient

from cradle.serve.app import create_app

pytestmark = pytest.mark.integration
MONITOR = "DEMO-MON-27"


def found(api: TestClient, q: str, **more: Any) -> dict[str, Any]:
    answer = api.get("/search", params={"q": q, "k": 100, **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def products(root: Path, where: str) -> set[str]:
    path = root / "tables" / "marts.syndication_products.parquet"
    return {sku for (sku,) in duckdb.execute(f"select sku from '{path}' where {where}").fetchall()}


@pytest.mark.parametrize(
    "question", [MONITOR, MONITOR.lower(), f"is {MONITOR.lower()}, dimmable?", "demo mon 27", "MON-27"]
)
def test_an_article_number_gives_its_product_first(api: TestClient, question: str) -> None:
    for mode in ("hybrid", "lexical"):
        hits = found(api, question, mode=mode)["hits"]
        assert hits[0]["sku"] == MONITOR
        assert len([hit for hit in hits if hit["score"] >= 1]) >= 1


def test_each_mode_is_told_and_both_ways_are_the_default(api: TestClient) -> None:
    assert found(api, "chair")["mode"] == "hybrid"
    for mode in ("hybrid", "semantic", "lexical"):
        answer = found(api, "chair", mode=mode)
        assert answer["mode"] == mode
        scores = [hit["score"] for hit in answer["hits"]]
        assert scores == sorted(scores, reverse=True)
    held = found(api, "chair", mode="lexical")["hits"]
    assert held
    assert all("chair" in hit["text"].lower() for hit in held)
    assert found(api, "zzzz", mode="lexical")["hits"] == []
    assert found(api, "??", mode="lexical")["hits"] == []


@pytest.mark.parametrize(
    ("filters", "where"),
    [
        ({"warranty_months": "36"}, "warranty_months = 36"),
        ({"warranty_months": "36", "in_stock": "true"}, "warranty_months = 36 and in_stock"),
        ({"filter.weight_kg": "4.2"}, "weight_kg = 4.2"),
        ({"name": "Monitor"}, "name = 'Monitor'"),
        ({"warranty_months": "long"}, "false"),
        ({"name": "' or 1=1 --"}, "false"),
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_any_attribute_of_the_products_narrows_a_search(
    api: TestClient, root: Path, filters: dict[str, str], where: str, mode: str
) -> None:
    hits = found(api, "something for the office", mode=mode, **filters)["hits"]
    assert {hit["sku"] for hit in hits} == products(root, where)
    assert all(hit["corpus"] == "products" for hit in hits)
    assert found(api, "office", corpus="general", mode=mode, **filters)["hits"] == []
    one = found(api, "office", sku=MONITOR, mode=mode, **filters)["hits"]
    assert {hit["sku"] for hit in one} == products(root, where) & {MONITOR}


@pytest.mark.parametrize(
    ("query", "named"),
    [("colour=red", "colour"), ("name=Monitor&filter.name=Chair", "name"), ("filter.nothing=1", "nothing")],
)
def test_a_filter_that_is_no_column_is_refused(api: TestClient, query: str, named: str) -> None:
    answer = api.get(f"/search?q=chair&{query}")
    assert answer.status_code == 422
    assert named in str(answer.json()["errors"][0]["loc"])


def test_an_image_without_an_index_of_words_is_searched_as_before(root: Path, tmp_path: Path) -> None:
    older = Path(shutil.copytree(root, tmp_path / "root"))
    shutil.rmtree(older / "words")
    manifest = json.loads((older / "manifest.json").read_bytes())
    del manifest["vectors"]["words"]
    (older / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with TestClient(create_app(older)) as api:
        assert found(api, "something to sit on in the office")["mode"] == "semantic"
        assert found(api, "something to sit on in the office")["hits"][0]["sku"] == "DEMO-CHA-07"
        assert found(api, "chair", mode="hybrid")["mode"] == "semantic"
        held = found(api, "chair", mode="lexical", warranty_months="60")
        assert held["mode"] == "lexical"
        assert {hit["sku"] for hit in held["hits"]} <= products(root, "warranty_months = 60")
        assert found(api, "monitor", mode="lexical")["hits"]


def test_words_are_searched_without_an_encoder(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "root"))
    (copy / "encoder" / "model.onnx").write_bytes(b"no model")
    with TestClient(create_app(copy)) as api:
        answer = found(api, MONITOR.lower())
        assert (answer["mode"], answer["hits"][0]["sku"]) == ("lexical", MONITOR)
        assert api.get("/search", params={"q": "chair", "mode": "hybrid"}).status_code == 503
