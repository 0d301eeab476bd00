"""Memory is bounded by configuration, not by what is delivered."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cradle.catalog import open_lake, resolve
from cradle.config import Settings
from tests.memory import peak_of

pytestmark = pytest.mark.integration

MB = 1 << 20
CUSTOMER = """
customer: wide
installation:
  sources:
    - name: lines
      role: lines
      format: csv
      files: ["*.csv"]
      dialect: {delimiter: ";"}
      columns: [COLUMNS]
operation: {title: Wide, description: Many long lines., port_base: 9700}
"""
INGEST = """
import sys
from datetime import date
from cradle.config import load_settings, quieten
quieten()
from dlt_pipelines.ingest import ingest
(done,) = ingest(load_settings(), "wide", date(2026, 2, 1)).sources
assert (done.rows_accepted, done.rows_rejected) == (int(sys.argv[1]), 1), done
"""
WIDTH, EVERY = 20, 1000


def deliver(settings: Settings, write_customer: Callable[[str, str], Path], size: int) -> int:
    """Write a CSV file of that size, one of whose lines has a field too many; return its good rows."""
    names = [f"c{at:02d}" for at in range(WIDTH)]
    write_customer("wide", CUSTOMER.replace("COLUMNS", ", ".join(f"{{name: {name}}}" for name in names)))
    path = settings.inbox("wide") / "wide.csv"
    path.parent.mkdir(parents=True)
    blocks = [
        "\n".join(";".join(f"{(first + at) * 7919 % 999983:06d}ä{name}" for name in names) for at in range(EVERY))
        + "\n"
        for first in range(0, 20 * EVERY, EVERY)
    ]
    written = 0
    with path.open("w", encoding="utf-8") as stream:
        stream.write(";".join(names) + "\n" + ";".join("x" * (WIDTH + 1)) + "\n")
        while stream.tell() < size:
            stream.write(blocks[written % len(blocks)])
            written += 1
    return written * EVERY


def limited(settings: Settings) -> Settings:
    return settings.model_copy(update={"memory_mb": 512, "parse_memory_mb": 640, "parse_seconds": 3600})


@pytest.mark.parametrize(
    ("size", "limit"),
    [(150 * MB, 640 * MB), pytest.param(2048 * MB, 1024 * MB, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
    ids=["150 MB", "2 GB"],
)
def test_a_delivery_goes_through_less_memory_than_it_would_fill(
    settings: Settings, write_customer: Callable[[str, str], Path], size: int, limit: int
) -> None:
    """All processes together: parsers, dlt, Parquet, the commit."""
    rows = deliver(settings, write_customer, size)
    peak = peak_of(INGEST, limited(settings), str(rows))
    sys.stdout.write(f"{size / MB:.0f} MB through {peak / MB:.0f} MB\n")
    pin = resolve(open_lake(settings, "wide"), "raw.lines")
    assert pin is not None
    assert pin.rows == rows
    assert peak < limit
