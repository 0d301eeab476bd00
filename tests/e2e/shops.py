"""Customers for tests of Airflow: two sources of sales, no texts, so that a night is short."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from cradle.config import PROJECT, Settings
from cradle.examples.demo import sales_csv

DELIVERED = "2026-11-01"
ROWS = 30  # of each source


def make_shops(folder: Path, names: Sequence[str], **operation: object) -> Settings:
    """Write customers and their first delivery; return the settings of their home."""
    settings = Settings(home=folder / "home", customers=folder / "customers", environment="dev_analytics")
    settings.customers.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load((PROJECT / "data" / "customers" / "demo.yaml").read_text(encoding="utf-8"))
    source = content["installation"]["sources"][0]
    golden = [{"ask": "count", "table": "marts.orders", "expect": {"min_rows": ROWS}}]
    for name in names:
        sources = [{**source, "name": one, "files": [f"{one}/*.csv"]} for one in ("north", "south")]
        made = {"customer": name, "installation": {"sources": sources, "image": {"golden": golden}}}
        how = {"title": name, "schedule": "0 2 * * *", "timezone": "UTC", **operation}
        (settings.customers / f"{name}.yaml").write_text(yaml.safe_dump({**made, "operation": how}), encoding="utf-8")
        for one in ("north", "south"):
            deliver(settings, name, one, DELIVERED)
    return settings


def deliver(settings: Settings, customer: str, source: str, day: str, rows: int = ROWS, seed: int = 7) -> None:
    """Put a file into the folder of a day."""
    folder = settings.inbox(customer) / source / day
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sales.csv").write_bytes(sales_csv(seed, rows).replace(b"ORD-", f"{source[0].upper()}-".encode()))
