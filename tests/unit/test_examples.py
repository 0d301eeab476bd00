"""Example data: the oracle of the demo, equal bytes each time, and the dirt that a catalogue has."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from cradle.config import PROJECT
from cradle.errors import ConfigError
from cradle.examples import generate
from cradle.examples.demo import sales_csv


def test_the_demo_is_the_data_set_that_its_oracle_describes() -> None:
    rows = list(csv.DictReader(io.StringIO(sales_csv(42, 1000).decode())))
    assert sum(int(row["quantity"]) * Decimal(row["amount"]) for row in rows) == Decimal("3035021.03")
    assert sum(int(row["quantity"]) for row in rows) == 3023
    assert len({row["customer_id"] for row in rows}) == 199
    assert len({(row["order_date"], row["region"], row["product"]) for row in rows}) == 865
    assert list(rows[0].values()) == ["ORD-0001", "CUST-0029", "2024-03-22", "Laptop", "3", "504.89", "South"]


@pytest.mark.parametrize(("name", "rows"), [("demo", 50), ("eaton", 60), ("lightnet", 500)])
def test_two_processes_make_the_same_bytes(name: str, rows: int, tmp_path: Path) -> None:
    code = (
        f"from pathlib import Path; from cradle.examples import generate; generate({name!r}, Path.cwd(), rows={rows})"
    )
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)}
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        found.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert found[0]
    assert found[0] == found[1]


def test_a_second_call_touches_nothing(tmp_path: Path) -> None:
    generate("demo", tmp_path, rows=10)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert generate("demo", tmp_path, rows=10).written == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_lightnet_has_75_attributes_two_encodings_and_dirt(tmp_path: Path) -> None:
    generate("lightnet", tmp_path, rows=2000)
    utf8, cp1252, records = 0, 0, list[list[str]]()
    for path in sorted(tmp_path.glob("catalogue/*.csv")):
        data = path.read_bytes()
        try:
            text = data.decode()
            utf8 += 1
        except UnicodeDecodeError:
            text = data.decode("cp1252")
            cp1252 += 1
        header, *rows = csv.reader(io.StringIO(text), delimiter=";")
        assert len(header) == 75
        records += rows
    assert utf8
    assert cp1252
    skus = [row[0] for row in records]
    assert len(set(skus)) < len(skus)
    assert any(row[header.index("Leistung [W]")] == "42 W" for row in records)
    empty = sum(cell == "" for row in records for cell in row) / (len(records) * 75)
    assert 0.25 < empty < 0.45


def test_an_unknown_example_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'lightnt' is unknown. Known: demo, eaton, lightnet"):
        generate("lightnt", tmp_path)
