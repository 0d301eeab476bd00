"""Every cell of a catalogue arrives: the delivered files, read by csv and openpyxl, against the tables."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from cradle.catalog import open_lake, read, read_batches, resolve
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.examples import generate
from cradle.installation import Column
from dbt_project.plugins.build import build
from dlt_pipelines.ingest import ingest

pytestmark = pytest.mark.integration

DAY = date(2026, 2, 1)
NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d{1,4})?")
Place = tuple[str, int]


def delivered(inbox: Path) -> Iterator[tuple[Place, dict[str, str]]]:
    """Yield (file, row of the file) and header → text of each record, empty cells as empty text."""
    for path in sorted(inbox.glob("catalogue/*")):
        name = path.relative_to(inbox).as_posix()
        if path.suffix == ".csv":
            try:
                text = path.read_bytes().decode()
            except UnicodeDecodeError:
                text = path.read_bytes().decode("cp1252")
            for record in (reader := csv.DictReader(io.StringIO(text, newline=""), delimiter=";")):
                yield (name, reader.line_num), record
        else:
            lines = openpyxl.load_workbook(path, read_only=True).worksheets[0].iter_rows(values_only=True)
            header = [str(cell) for cell in next(lines)]
            for number, line in enumerate(lines, 2):
                cells = ["" if cell is None else str(cell) for cell in line]
                yield (name, number), dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True))


def typed(text: str, column: Column) -> Any:
    """Cast as a German reader would; None where nothing stands, and where it does not fit."""
    text = text.strip(" ")
    if not text or column.type == "text":
        return text or None
    assert column.type in ("integer", "decimal")
    if not NUMBER.fullmatch(text):
        return None
    value = Decimal(text.replace(".", "").replace(",", "."))
    return int(value) if column.type == "integer" else value


@pytest.mark.parametrize("rows", [700, pytest.param(None, marks=pytest.mark.long)], ids=["small", "full"])
def test_every_delivered_cell_stands_in_raw_and_typed_in_the_mart(settings: Settings, rows: int | None) -> None:
    generate("lightnet", settings.inbox("lightnet"), rows=rows)
    ingest(settings, "lightnet", DAY)
    build(settings, "lightnet", DAY)
    lake = open_lake(settings, "lightnet")
    columns = load_customer(settings.customers, "lightnet").installation.columns("products")
    files = dict(delivered(settings.inbox("lightnet")))
    assert _raw_cells(lake, files, columns) == len(files) * len(columns)

    pin = resolve(lake, "marts.syndication_products")
    assert pin is not None
    first: dict[str, Place] = {}
    for place, record in files.items():
        first.setdefault(record["Artikelnummer"].strip(), place)
    seen, cells, without = set(), 0, 0
    for batch in read_batches(lake, pin):
        for row in batch.to_pylist():
            place = (row["_source_file"], row["_row_number"])
            assert first[row["sku"]] == place
            seen.add(row["sku"])
            record = files[place]
            for column in columns:
                assert row[column.name] == typed(record[column.delivered_as], column), (place, column.name)
                without += row[column.name] is None and record[column.delivered_as].strip() != ""
            cells += len(columns)
    assert seen == set(first)
    assert (len(pin.columns), len(columns)) == (78, 75)
    assert cells == (rows or 104_699) * 75
    rejects = resolve(lake, "ops.rejects")
    assert rejects is not None
    counted = Counter(row["scope"] for row in read(lake, rejects).to_pylist() if row["stage"] == "staging")
    assert counted == {"row": len(files) - len(first), "cell": without}


def _raw_cells(lake: Any, files: dict[Place, dict[str, str]], columns: tuple[Column, ...]) -> int:
    """Compare raw.products cell by cell; return how many cells were compared."""
    pin = resolve(lake, "raw.products")
    assert pin is not None
    assert pin.rows == len(files)
    cells = 0
    for batch in read_batches(lake, pin, ("_source_file", "_row_number", *(column.name for column in columns))):
        for row in batch.to_pylist():
            record = files[(row["_source_file"], row["_row_number"])]
            for column in columns:
                assert (row[column.name] or "") == record[column.delivered_as]
            cells += len(columns)
    return cells
