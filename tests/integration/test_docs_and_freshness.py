"""dbt's docs in Airflow's menu, and how old deliveries are against the limits of a customer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cradle import outcomes
from cradle.airflow_environment import cosmos_environment
from cradle.config import PROJECT, Settings
from dbt_project.plugins.docs import docs
from dbt_project.plugins.freshness import freshness
from dlt_pipelines.ingest import ingest
from tests.nights import DAY

pytestmark = pytest.mark.integration
ASK = """
import json, sys
from cradle.airflow_environment import set_airflow_environment
from cradle.config import settings
set_airflow_environment(settings())
from fastapi.testclient import TestClient
from cosmos.plugin.airflow3 import CosmosAF3Plugin
plugin = CosmosAF3Plugin()
client = TestClient(plugin.fastapi_apps[0]["app"])
answers = {path: [one.status_code, one.text] for path in sys.argv[1:] for one in [client.get(path)]}
json.dump({"views": plugin.external_views, "answers": answers}, sys.stdout)
"""


def ask(settings: Settings, *paths: str) -> dict[str, Any]:
    """Ask the pages that Cosmos adds to Airflow."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **cosmos_environment(settings)}
    environment |= {"CRADLE_HOME": str(settings.home), "CRADLE_ENVIRONMENT": settings.environment}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *paths], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"views"') :])
    return found


def test_docs_tell_models_and_columns_and_stand_in_airflows_menu(demo: Settings) -> None:
    made = docs(demo, "demo", DAY)
    assert made.folder == demo.home / "docs" / "demo" / demo.environment
    assert (made.folder / "index.html").stat().st_size > 100_000
    assert made.models == len(list((PROJECT / "dbt_project" / "models").glob("[ms]*/*.sql")))
    assert outcomes.last(demo, "demo", DAY)["docs"]["counts"] == {"models": made.models}
    pages = [f"/demo_{demo.environment}/{name}" for name in ("dbt_docs_index.html", "manifest.json", "catalog.json")]
    seen = ask(demo, *pages)
    assert [view["href"] for view in seen["views"]] == ["/cosmos" + pages[0]]
    assert "demo" in seen["views"][0]["name"]
    assert [seen["answers"][page][0] for page in pages] == [200, 200, 200]
    assert "Revenue per day, region and product" in seen["answers"][pages[1]][1]
    columns = json.loads(seen["answers"][pages[2]][1])["nodes"]["model.cradle.daily_revenue"]["columns"]
    assert columns["avg_order_value"]["type"].startswith("DECIMAL")


def test_the_menu_names_customers_with_docs_only(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert json.loads(cosmos_environment(settings)["AIRFLOW__COSMOS__DBT_DOCS_PROJECTS"]) == {}
    (tmp_path / "docs" / "shop" / "prod_analytics").mkdir(parents=True)
    (tmp_path / "docs" / "bare" / "prod_analytics").mkdir(parents=True)
    (tmp_path / "docs" / "shop" / "prod_analytics" / "index.html").touch()
    projects = json.loads(cosmos_environment(settings)["AIRFLOW__COSMOS__DBT_DOCS_PROJECTS"])
    assert {name: one["dir"] for name, one in projects.items()} == {
        "shop_prod_analytics": str(tmp_path / "docs" / "shop" / "prod_analytics")
    }


SHOP = """
customer: shop
installation:
  sources:
    - {{name: sales, role: sales, format: csv, files: ["sales.csv"], columns: [{{name: order_id}}]}}
    - {{name: list, role: products, format: csv, files: ["list.csv"], columns: [{{name: sku}}]}}
    - {{name: notes, role: documents, format: text, files: ["*.txt"]}}
operation: {operation}
"""
GIVEN = {"sales": ("sales.csv", "order_id\n1\n"), "products": ("list.csv", "sku\nA\n"), "documents": ("a.txt", "Hello")}


@pytest.mark.behaviour
def test_freshness_is_the_age_of_the_newest_delivery_against_the_limits(
    settings: Settings, write_customer: Callable[[str, str], Path]
) -> None:
    today = datetime.now(UTC).date()
    ages = {"sales": (0, 5), "products": (3, 30), "documents": (9,)}
    write_customer("shop", SHOP.format(operation="{}"))
    for role, days in ages.items():
        for age in days:
            folder = settings.inbox("shop") / str(today - timedelta(days=age))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / GIVEN[role][0]).write_text(GIVEN[role][1])
    assert state(settings, today) == dict.fromkeys(ages, (None, "error"))  # nothing was ingested yet
    ingest(settings, "shop", today)
    last = {role: today - timedelta(days=min(days)) for role, days in ages.items()}
    limits = {
        "{}": (2, 7),
        "{fresh: {warn_days: 1, error_days: 3}}": (1, 3),
        "{fresh: {warn_days: 20, error_days: 30}}": (20, 30),
    }
    for operation, (warn, error) in limits.items():
        write_customer("shop", SHOP.format(operation=operation))
        expected = {
            role: (day, "error" if (today - day).days >= error else "warn" if (today - day).days >= warn else "pass")
            for role, day in last.items()
        }
        assert state(settings, today) == expected, operation
    assert state(settings, today - timedelta(days=4))["sales"][0] == today - timedelta(days=5)
    told = outcomes.last(settings, "shop", today)["freshness"]
    assert told["counts"] == {"pass": 3, "warn": 0, "error": 0}
    assert told["outputs"]["documents"]["last_delivery"] == str(last["documents"])


def state(settings: Settings, day: date) -> dict[str, tuple[date | None, str]]:
    found = freshness(settings, "shop", day).roles
    assert all(one.age_days is None or one.age_days >= 0 for one in found)
    return {one.role: (one.last_delivery, one.state) for one in found}
