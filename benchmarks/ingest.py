"""Ingest: the delivered files of a catalogue, every cell as text, into one Iceberg table.

The peers are what people write first (rows as dictionaries through dlt), what they write next (Arrow through dlt), and
the limit: Arrow straight into one PyIceberg append. All variants give the same rows with the same text in every cell.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.stage import Facts, Goal, Later, Stage, Variant, imported, same
from cradle.config import PROJECT, Settings
from cradle.examples.lightnet import FULL

DAY = date(2026, 2, 1)
SOURCES = ["catalogue_csv", "catalogue_xlsx"]
TABLE = "products"
THREADS = 2


def _digest(relation: str, columns: list[str] | None = None) -> Later:
    """Return a digest of the text of all cells, whatever the order of rows."""

    def compute() -> object:
        import duckdb

        with duckdb.connect(config={"threads": 1, "memory_limit": "256MB"}) as con:
            have = [row[0] for row in con.execute(f"describe select * from {relation}").fetchall()]
            cells = ", ".join('coalesce("' + name.replace('"', '""') + "\", '')" for name in columns or have)
            row = f"(md5_number(concat_ws(chr(31), {cells})) % 1000000000000)::bigint"  # wider sums become floats
            return con.execute(f"select count(*), sum({row}) from {relation}").fetchone()

    return Later(compute)


def prepare(inputs: Path, rows: int) -> None:
    """Generate the catalogue."""
    from cradle.examples import generate

    generate("lightnet", inputs, rows=None if rows == FULL else rows)


def files(inputs: Path, suffix: str) -> list[Path]:
    """Return the delivered files of a format."""
    return sorted((inputs / "catalogue").glob(f"*{suffix}"))


def text_encoding(path: Path) -> str:
    """Return the encoding of a file: some are in the older one."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def headers(inputs: Path) -> list[str]:
    """Return the header that all files share."""
    path = files(inputs, ".csv")[0]
    with path.open(encoding=text_encoding(path), newline="") as stream:
        return next(csv.reader(stream, delimiter=";"))


def _parquet(folder: Path) -> str:
    return f"read_parquet('{folder}/**/*.parquet', union_by_name => true)"


# Ours


def load_ours() -> None:
    """Import what the command imports."""
    imported("cradle.catalog", "dlt_pipelines.ingest", "dlt_pipelines.load")


def settings_of(scratch: Path) -> Settings:
    """Return settings of an empty home."""
    return Settings(home=scratch / "home", customers=PROJECT / "data" / "customers", threads=THREADS)


def setup_ours(inputs: Path, scratch: Path) -> None:
    """Let the files arrive in the inbox."""
    inbox = settings_of(scratch).inbox("lightnet") / "catalogue"
    inbox.mkdir(parents=True)
    for path in (*files(inputs, ".csv"), *files(inputs, ".xlsx")):
        os.link(path, inbox / path.name)


def run_ours(inputs: Path, scratch: Path) -> Facts:
    """Keep the originals, read them in limited processes, load them once, record deliveries and rejects."""
    from cradle.catalog import open_lake, resolve
    from cradle.customers import load_customer
    from dlt_pipelines.ingest import ingest

    settings = settings_of(scratch)
    done = ingest(settings, "lightnet", DAY, SOURCES)
    columns = [one.name for one in load_customer(settings.customers, "lightnet").installation.columns(TABLE)]
    pin = resolve(open_lake(settings, "lightnet"), f"raw.{TABLE}")
    assert pin is not None
    data = settings.lake("lightnet") / "warehouse"
    found = _parquet(next(path for path in data.rglob(TABLE) if path.is_dir()) / "data")
    return {"rows": sum(one.rows_accepted for one in done.sources), "digest": _digest(found, columns)}


# Rows as dictionaries through dlt, with its own Iceberg writer


def rows_as_dictionaries(inputs: Path) -> Iterator[dict[str, str | None]]:
    """Read the files as most people do first."""
    import openpyxl

    for path in files(inputs, ".csv"):
        with path.open(encoding=text_encoding(path), newline="") as stream:
            yield from csv.DictReader(stream, delimiter=";")
    for path in files(inputs, ".xlsx"):
        book = openpyxl.load_workbook(path, read_only=True)
        lines = book.worksheets[0].iter_rows(values_only=True)
        header = [str(cell) for cell in next(lines)]
        for line in lines:
            yield dict(
                zip(header, (None if cell is None else str(cell) for cell in line), strict=False)
            )  # empty cells at the end are left out


def load_dlt() -> None:
    """Import dlt and the readers."""
    imported("dlt", "dlt.destinations", "fastexcel", "openpyxl", "pyarrow.csv", "pyiceberg.catalog.sql")


def _through_dlt(scratch: Path, rows: Any, columns: list[str]) -> Facts:
    import dlt

    hints: Any = {name: {"data_type": "text"} for name in columns}
    resource = dlt.resource(rows, name=TABLE, table_format="iceberg", columns=hints, max_table_nesting=0)
    pipeline = dlt.pipeline(
        "direct",
        destination=dlt.destinations.filesystem(bucket_url=(scratch / "lake").as_uri()),
        dataset_name="raw",
        pipelines_dir=str(scratch / "pipelines"),
    )
    pipeline.run(resource)
    names = [pipeline.default_schema.naming.normalize_identifier(name) for name in columns]
    count = pipeline.last_trace.last_normalize_info.row_counts[TABLE]
    return {"rows": count, "digest": _digest(_parquet(scratch / "lake" / "raw" / TABLE / "data"), names)}


def run_naive(inputs: Path, scratch: Path) -> Facts:
    """Read with openpyxl and csv.DictReader, and let dlt do the rest."""
    return _through_dlt(scratch, lambda: rows_as_dictionaries(inputs), headers(inputs))


# Arrow


def as_arrow(inputs: Path) -> Iterator[Any]:
    """Read the files with the fastest libraries, on as many threads as ours may use, all cells as text."""
    paths = [*files(inputs, ".xlsx"), *files(inputs, ".csv")]
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(_table, paths)


def _table(path: Path) -> Any:
    import fastexcel
    import pyarrow as pa
    import pyarrow.csv as pacsv

    if path.suffix == ".xlsx":
        table = pa.table(fastexcel.read_excel(str(path)).load_sheet(0, dtypes="string"))
        return table.cast(pa.schema([pa.field(name, pa.string()) for name in table.column_names]))
    encoding = text_encoding(path)
    with path.open(encoding=encoding, newline="") as stream:
        header = next(csv.reader(stream, delimiter=";"))
    return pacsv.read_csv(
        path,
        read_options=pacsv.ReadOptions(encoding=encoding, use_threads=False),
        parse_options=pacsv.ParseOptions(delimiter=";"),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )


def run_arrow(inputs: Path, scratch: Path) -> Facts:
    """Hand Arrow tables to dlt and its own Iceberg writer."""
    return _through_dlt(scratch, lambda: as_arrow(inputs), headers(inputs))


def load_direct() -> None:
    """Import PyIceberg and the readers."""
    imported("fastexcel", "pyarrow.csv", "pyiceberg.catalog.sql", "pyiceberg.io.pyarrow")


def run_direct(inputs: Path, scratch: Path) -> Facts:
    """One append of everything, in memory."""
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog

    whole = pa.concat_tables(as_arrow(inputs))
    catalog = SqlCatalog("direct", uri=f"sqlite:///{scratch}/catalog.db", warehouse=(scratch / "lake").as_uri())
    catalog.create_namespace("raw")
    catalog.create_table(f"raw.{TABLE}", schema=whole.schema).append(whole)
    return {"rows": whole.num_rows, "digest": _digest(_parquet(scratch / "lake"))}


STAGES = (
    Stage(
        name="ingest",
        title="Ingest: 27 delivered files → one Iceberg table",
        unit="rows of 75 columns",
        sizes={"smoke": 1500, "reduced": 6_000, "full": FULL},
        prepare=prepare,
        variants=(
            Variant("cradle", "Cradle: originals kept, limited parsers, exactly once", run_ours, setup_ours, load_ours),
            Variant(
                "naive", "openpyxl and csv.DictReader → rows through dlt's Iceberg writer", run_naive, load=load_dlt
            ),
            Variant(
                "arrow", "fastexcel and pyarrow.csv → Arrow through dlt's Iceberg writer", run_arrow, load=load_dlt
            ),
            Variant("direct", "fastexcel and pyarrow.csv → one PyIceberg append (limit)", run_direct, load=load_direct),
        ),
        check=lambda facts: same(facts, "rows", "digest"),
        goals=(Goal("naive", at_least=15.0), Goal("direct", at_most=1.5)),
        growth=26_175,
    ),
)
