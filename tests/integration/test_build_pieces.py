"""A build in pieces makes what the build in one piece makes, and a piece refuses what the one before did not leave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from cradle import names, outcomes, releases
from cradle.catalog import open_lake, resolve, tables
from cradle.catalog.ops import rows as ops_rows
from cradle.cli.main import app
from cradle.config import PREFIX, Settings, settings
from cradle.errors import BuildFailed, Fenced, MissingStep
from cradle.examples import generate
from dbt_project.plugins.build import build
from dbt_project.plugins.current import CURRENT
from dbt_project.plugins.models import UNDER_WAY, before, begin_build, publish_build
from dlt_pipelines.ingest import ingest
from tests.nights import DAY

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
SALES = "order_id,customer_id,order_date,product,quantity,amount,region\n"


@pytest.fixture
def shop(settings: Settings) -> Settings:
    """A home in which the demo is ingested, with a reject in its sales."""
    generate("demo", settings.inbox("demo"), rows=40)
    sales = settings.inbox("demo") / "sales" / "sales.csv"
    sales.write_text(sales.read_text() + "ORD-9999,CUST-0001,2024-03-31,Laptop,none,1500.00,North\n")
    ingest(settings, "demo", DAY)
    return settings


def made(found: Settings, ref: str) -> dict[str, tuple[str, str, int]]:
    """Return table → step key, content digest and number of snapshots, of what stands on a branch."""
    lake = open_lake(found, "demo")
    tables_of_build = [table for layer in ("staging", "marts") for table in tables(lake, layer)]
    pins = {table: resolve(lake, table, ref) for table in tables_of_build}
    counts = {table: len(lake.catalog.load_table(lake.identifier(table)).snapshots()) for table in pins}
    return {table: (pin.step_key, pin.content_digest, counts[table]) for table, pin in pins.items() if pin}


def reject_rows(found: Settings) -> list[dict[str, Any]]:
    return sorted(ops_rows(open_lake(found, "demo"), "ops.rejects"), key=str)


def test_two_layers_leave_what_one_piece_leaves(shop: Settings) -> None:
    branch, other = f"asof-{DAY}", DAY + timedelta(days=1)
    first, second = build(shop, "demo", DAY, "staging"), build(shop, "demo", DAY, "marts")
    assert (first.layer, second.layer) == ("staging", "marts")
    assert first.published == ()
    assert {table.split(".")[0] for table in first.tables} == {"staging"}
    assert {table.split(".")[0] for table in second.tables} == {"marts"}
    pieces, rejected = made(shop, branch), reject_rows(shop)
    assert made(shop, "main") == pieces
    assert [row["reason"] for row in rejected] == ["not_an_integer"]

    whole = build(shop, "demo", other)
    assert made(shop, f"asof-{other}") == pieces  # same keys and digests, and not one snapshot more
    assert not any(one.written for one in whole.tables.values())
    assert reject_rows(shop) == rejected
    assert whole.tests == first.tests + second.tests
    assert sorted(whole.tables) == sorted([*first.tables, *second.tables])
    assert build(shop, "demo", other, "marts").published == ()


def test_layers_are_attempts_and_outcomes_of_the_verb_build(shop: Settings) -> None:
    attempts = [build(shop, "demo", DAY, "staging").attempt, build(shop, "demo", DAY, "marts").attempt]
    assert outcomes.last(shop, "demo", DAY)["build"]["inputs"]["layer"] == "marts"
    attempts += [build(shop, "demo", DAY, "marts", attempt=1).attempt, build(shop, "demo", DAY).attempt]
    assert attempts == [1, 1, 1, 2]
    assert "layer" not in outcomes.last(shop, "demo", DAY)["build"]["inputs"]
    assert releases.newest_attempt(open_lake(shop, "demo"), DAY) == 2
    with pytest.raises(Fenced, match="attempt 1 of 2024-04-01 was overtaken by attempt 2"):
        build(shop, "demo", DAY, "marts", attempt=1)


def test_marts_without_staging_name_the_command(shop: Settings) -> None:
    command = "cradle build demo --layer staging --date"
    with pytest.raises(MissingStep, match=f"{command} {DAY}"):
        build(shop, "demo", DAY, "marts")
    releases.claim(_run(shop, DAY))
    with pytest.raises(MissingStep, match=r"staging\.stg_sales was not made for 2024-04-01"):
        build(shop, "demo", DAY, "marts")
    build(shop, "demo", DAY, "staging")
    sales = shop.inbox("demo") / "sales" / "sales.csv"
    sales.write_text(sales.read_text() + "ORD-9998,CUST-0001,2024-03-31,Laptop,1,1500.00,North\n")
    later = DAY + timedelta(days=1)
    ingest(shop, "demo", later)
    with pytest.raises(MissingStep, match=f"{command} {later}"):
        build(shop, "demo", later, "marts")
    (shop.inbox("demo") / str(DAY) / "sales").mkdir(parents=True)
    (shop.inbox("demo") / str(DAY) / "sales" / "sales.csv").write_text(sales.read_text())
    ingest(shop, "demo", DAY)
    with pytest.raises(MissingStep, match=r"made from another state of raw\.sales"):
        build(shop, "demo", DAY, "marts")
    assert resolve(open_lake(shop, "demo"), "marts.orders") is None


def test_a_task_of_a_model_refuses_what_is_missing_overtaken_or_of_another_date(shop: Settings) -> None:
    begun = begin_build(shop, "demo", DAY)
    node = {"resource_type": "model", "resource_name": "orders", "tags": ["sales"], "unique_id": "model.cradle.orders"}
    node["depends_on"] = ["model.cradle.stg_sales"]
    operator = SimpleNamespace(base_cmd=["run"])
    with pytest.raises(MissingStep, match=r"staging\.stg_sales was not built for 2024-04-01. Clear the task"):
        before(shop, operator, node, begun)
    with pytest.raises(MissingStep, match=r"staging\.stg_sales was not made for 2024-04-01"):
        publish_build(shop, begun)
    assert not before(shop, operator, {**node, "tags": ["cars"]}, begun)
    assert begin_build(shop, "demo", DAY).attempt == begun.attempt + 1
    with pytest.raises(Fenced):
        before(shop, operator, node, begun)
    with pytest.raises(Fenced):
        publish_build(shop, begun.model_dump(mode="json"))
    assert outcomes.last(shop, "demo", DAY)["build"]["error"]["type"] == "Fenced"
    assert (UNDER_WAY, CURRENT) == ([], [])


def _run(found: Settings, day: date) -> Any:
    from cradle.catalog.run import open_run

    return open_run(found, "demo", day)


def test_a_test_of_staging_stops_staging(settings: Settings, write_customer: Callable[[str, str], Path]) -> None:
    source = "{name: list, role: products, format: csv, files: ['*.csv'], columns: [{name: sku}, {name: name}]}"
    write_customer("shop", f"customer: shop\ninstallation:\n  sources:\n    - {source}\n")
    settings.inbox("shop").mkdir(parents=True)
    (settings.inbox("shop") / "list.csv").write_text("sku,name\nA,x\nA,y\n")
    ingest(settings, "shop", DAY)
    with pytest.raises(BuildFailed, match="unique_stg_products_sku: fail"):
        build(settings, "shop", DAY, "staging")


def test_a_customer_of_documents_has_an_empty_staging(
    settings: Settings, write_customer: Callable[[str, str], Path]
) -> None:
    source = "{name: notes, role: documents, format: text, files: ['*.txt']}"
    write_customer("shop", f"customer: shop\ninstallation:\n  sources:\n    - {source}\n")
    settings.inbox("shop").mkdir(parents=True)
    (settings.inbox("shop") / "note.txt").write_text("Returns within 30 days.")
    ingest(settings, "shop", DAY)
    assert build(settings, "shop", DAY, "staging").tables == {}
    assert list(build(settings, "shop", DAY, "marts").tables) == ["marts.general_documents"]


def test_every_model_belongs_to_one_piece_of_a_build(dbt_manifest: dict[str, Any]) -> None:
    models = [node for node in dbt_manifest["nodes"].values() if node["resource_type"] == "model"]
    pieces = {layer: set(names.BUILD_LAYERS[layer]) for layer in get_args(names.BuildLayer)}
    assert {node["schema"] for node in models} == set.union(*pieces.values())
    assert not set.intersection(*pieces.values())
    staging = {node["name"] for node in models if node["schema"] == "staging"}
    assert staging == set(names.STAGING_MODELS.values())
    found = {node["name"]: node["tags"] for node in models}
    assert [role for role, model in names.STAGING_MODELS.items() if role not in found[model]] == []


@pytest.fixture(scope="module")
def dbt_manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What dbt itself says of the project."""
    from dbt.cli.main import dbtRunner

    from dbt_project.plugins.invoke import FOLDER

    folder = str(tmp_path_factory.mktemp("target"))
    options = ["--project-dir", str(FOLDER), "--profiles-dir", str(FOLDER), "--target-path", folder]
    result = dbtRunner().invoke(["parse", *options, "--log-path", folder, "--quiet"]).result
    return dict(result.to_dict())


def test_the_command_builds_one_layer(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in shop.model_dump(mode="json", exclude_defaults=True).items():
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", str(value))
    settings.cache_clear()
    try:
        done = CliRunner().invoke(app, ["build", "demo", "--date", str(DAY), "--layer", "staging"])
    finally:
        settings.cache_clear()
    assert done.exit_code == 0, done.output
    assert "staging.stg_sales" in done.output
    assert "marts.orders" not in done.output
