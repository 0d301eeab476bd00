"""The marts of a catalogue: raw text → typed, judged, tested tables, each an exactly-once commit with a digest.

The limit is the same SQL, run by DuckDB alone into plain Parquet files: no tests, no digests, no commits. What dbt
itself costs before the first model is measured by a variant that selects none.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks import ingest as delivered
from benchmarks.stage import Facts, Goal, Later, Stage, Variant, imported, same
from cradle.examples.lightnet import FULL

MART = "syndication_products"


def _digest(relation: str) -> Later:
    def compute() -> str:
        import duckdb

        from cradle.digest import content_digest

        with duckdb.connect(config={"threads": 1}) as con:
            return content_digest(con, f"(from {relation})")

    return Later(compute)


def prepare(inputs: Path, rows: int) -> None:
    """Generate the catalogue, and keep the SQL that dbt compiles for it."""
    delivered.prepare(inputs, rows)
    scratch = inputs / "compiling"
    setup(inputs, scratch)
    run_cradle(inputs, scratch)
    (inputs / "sql").mkdir()
    for path in (scratch / "home" / "work").rglob("compiled/cradle/models/*/*.sql"):
        shutil.copyfile(path, inputs / "sql" / path.name)
    shutil.rmtree(scratch)


def setup(inputs: Path, scratch: Path) -> None:
    """Ingest the delivery into an empty home."""
    from dlt_pipelines.ingest import ingest

    delivered.setup_ours(inputs, scratch)
    settings = delivered.settings_of(scratch)
    guides = settings.inbox("lightnet") / "documents"
    shutil.copytree(inputs / "documents", guides)
    ingest(settings, "lightnet", delivered.DAY)


def load() -> None:
    """Import what the command imports."""
    imported("dbt.cli.main", "dbt.adapters.duckdb", "dbt_project.plugins.build")


def run_cradle(inputs: Path, scratch: Path) -> Facts:
    """Build, test and publish all models."""
    from dbt_project.plugins.build import build

    settings = delivered.settings_of(scratch)
    built = build(settings, "lightnet", delivered.DAY)
    (results,) = (scratch / "home" / "work").rglob("run_results.json")
    ran = json.loads(results.read_text(encoding="utf-8"))["results"]
    data = next(path for path in settings.lake("lightnet").rglob(MART) if path.is_dir()) / "data"
    return {
        "rows": built.tables[f"marts.{MART}"].rows,
        "digest": _digest(f"read_parquet('{data}/*.parquet')"),
        "figures": {"work_seconds": sum(one["execution_time"] for one in ran)},
    }


def _current(scratch: Path) -> Any:
    from cradle.catalog.deliveries import as_of
    from cradle.catalog.run import open_run
    from dbt_project.plugins.current import Build

    run = open_run(delivered.settings_of(scratch), "lightnet", delivered.DAY)
    return Build(run, as_of(run.lake, run.installation, run.logical_date))


def run_sql(inputs: Path, scratch: Path) -> Facts:
    """Run the same SQL in DuckDB alone, into Parquet files."""
    from cradle.catalog import connect_duckdb
    from dbt_project.plugins.lake import show

    current = _current(scratch)
    with connect_duckdb(current.run.lake.settings) as con:
        show(con, current)
        for name in ("stg_products", MART, "products_documents", "rejects_products", "general_documents"):
            target = scratch / f"{name}.parquet"
            sql = (inputs / "sql" / f"{name}.sql").read_text(encoding="utf-8")
            con.execute(f"copy ({sql}) to '{target}' (format parquet, compression zstd)")
            if name.startswith("stg_"):
                con.execute(f"create view staging.{name} as select * from read_parquet('{target}')")
        found = f"read_parquet('{scratch / MART}.parquet')"
        (rows,) = con.execute(f"select count(*) from {found}").fetchall()[0]
    return {"rows": rows, "digest": _digest(found)}


def run_idle(inputs: Path, scratch: Path) -> Facts:
    """Let dbt start, parse the project and find nothing to do."""
    from dbt_project.plugins.invoke import run_dbt

    current = _current(scratch)
    run_dbt(["build", "--select", "tag:none"], current.run.lake.settings, current)
    return {}


STAGES = (
    Stage(
        name="marts",
        title="Marts: raw → staging → marts, typed, judged and tested",
        unit="rows of 75 columns",
        sizes={"smoke": 1500, "reduced": 6_000, "full": FULL},
        prepare=prepare,
        variants=(
            Variant("cradle", "Cradle: dbt, tests, digests, exactly-once commits", run_cradle, setup, load),
            Variant("sql", "The same SQL in DuckDB alone, into Parquet files (limit)", run_sql, setup, load),
            Variant("idle", "dbt with nothing to do", run_idle, setup, load),
        ),
        check=lambda facts: same(facts, "rows", "digest"),
        goals=(Goal(figure="work_seconds", at_most=3.0), Goal(figure="peak_mb", at_most=4096)),
        growth=26_175,
        note="`work_seconds` is the time within models and tests, as dbt tells it.",
    ),
)
