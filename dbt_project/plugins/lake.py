"""The dbt-duckdb plugin: DuckDB computes in memory, one Iceberg commit per model publishes to the branch of the run.

Flow: raw tables as of the date → views → model → cradle.catalog.write_once → view on what was written
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import duckdb
import pyarrow as pa
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig

from cradle import names
from cradle.catalog import Lake, Pin, Written, grant, ops, readable, resolve, summary_of, write_once
from cradle.catalog.duck import duckdb_config, set_up
from cradle.digest import step_key
from dbt_project.plugins.current import CURRENT, Build

BATCH_ROWS = 8192  # of a model's result, on its way from DuckDB into the commit
KEYS_AGE = 300  # seconds; vended keys live for an hour


class Plugin(BasePlugin):
    """Shows raw as of a date and stores each model once."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Take the build that is under way; parsing needs none."""
        self.build = CURRENT[-1] if CURRENT else None

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Set DuckDB's limits."""
        if self.build:
            config.update(duckdb_config(self.build.run.lake.settings))

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Load extensions and show the raw tables and those models that this run does not build."""
        self.con, self.granted = conn, time.monotonic()
        if self.build is not None:
            show(conn, self.build)

    def store(self, target_config: TargetConfig) -> None:
        """Commit a model's rows, unless a snapshot of the same step is there; then show what stands on the branch."""
        if self.build is None:
            raise RuntimeError("no build is under way; run `cradle build`")
        try:
            self._store(target_config)
        except Exception as error:
            self.build.failed = error
            raise

    def _store(self, target_config: TargetConfig) -> None:
        model = target_config.config.model
        source = f'"{target_config.relation.schema}"."{target_config.location.path}"'
        step = self._step(model)
        self._renew_keys()
        staging = target_config.config.get("rejects_of")
        if staging:
            staged = self._store_rejects(source, staging)
            shown = rejects_of(self.con, self.build.run.lake, staged, staging)
        else:
            written = self._store_rows(source, step, model)
            shown = readable(self.con, self.build.run.lake, written.pin)
        name = f'"{target_config.relation.schema}"."{target_config.relation.identifier}"'
        self.con.execute(f"create or replace view {name} as select * from {shown}")

    def _renew_keys(self) -> None:
        """Give DuckDB fresh keys to the files of what it shows: those of a long build run out."""
        assert self.build is not None
        if time.monotonic() - self.granted < KEYS_AGE:
            return
        lake = self.build.run.lake
        raw = [names.table("raw", role) for role in names.MODELLED_ROLES if role in self.build.run.roles]
        for table in (*raw, *(pin.table for pin in self.build.pins().values())):
            grant(self.con, lake, table)
        self.granted = time.monotonic()

    def _step(self, model: Any) -> dict[str, Any]:
        """Return what defines a model's result: its SQL, and the content of what it reads."""
        build = self.build
        assert build is not None
        inputs, pins = {}, build.pins()
        for upstream in sorted(model.depends_on.nodes):
            kind, *_, name = upstream.split(".")
            if kind == "source":
                inputs[f"raw.{name}"] = build.state.digest(name)
            elif kind == "model" and name in pins:
                inputs[pins[name].table] = pins[name].content_digest
        sql = hashlib.sha256(model.compiled_code.encode()).hexdigest()
        return {"model": model.name, "sql": sql, "inputs": inputs}

    def _store_rows(self, source: str, step: dict[str, Any], model: Any) -> Written:
        build = self.build
        assert build is not None
        table = names.table(model.schema, model.name)
        written = write_once(
            build.run.lake,
            table,
            lambda: self.con.cursor().execute(f"select * from {source}").to_arrow_reader(BATCH_ROWS),
            step_key=step_key("build", **step),
            branch=build.run.branch,
            summary=summary_of(inputs=json.dumps(step["inputs"]), model=model.name),
        )
        build.written[model.name] = written
        return written

    def _store_rejects(self, source: str, staging: str) -> Pin:
        build = self.build
        assert build is not None
        staged = build.pins()[staging]
        fixed = {"step_key": staged.step_key, "stage": "staging", "step": staging}

        def rows() -> pa.RecordBatchReader:
            found = self.con.cursor().execute(f"select * from {source}").to_arrow_reader(BATCH_ROWS)
            return pa.RecordBatchReader.from_batches(ops.REJECTS, (ops.reject_rows(one, fixed) for one in found))

        # Written even when there are none: else they would be looked for every night.
        key = step_key("rejects", staged=staged.step_key)
        write_once(build.run.lake, "ops.rejects", rows, step_key=key, mode="append")
        return staged


def rejects_of(con: duckdb.DuckDBPyConnection, lake: Lake, staged: Pin, model: str) -> str:
    """Return SQL text that may follow FROM: what a staging model could not take."""
    rejects = resolve(lake, "ops.rejects")
    assert rejects is not None
    where = f"step_key = '{staged.step_key}' and stage = 'staging' and step = '{model}'"
    return f"(select * from {readable(con, lake, rejects)} where {where})"


def show(con: duckdb.DuckDBPyConnection, build: Build) -> None:
    """Prepare a connection: raw as of the date, and each model that stands on the branch of the run, as views."""
    set_up(con)
    for layer in ("raw", "staging", "marts", "ops"):
        con.execute(f"create schema if not exists {layer}")
    for role in names.MODELLED_ROLES:
        show_raw(con, build, role)
    lake, pins = build.run.lake, build.pins()
    for pin in pins.values():
        con.execute(f"create or replace view {pin.table} as select * from {readable(con, lake, pin)}")
    rejects = resolve(lake, "ops.rejects")
    for role, model in names.STAGING_MODELS.items():
        if rejects and model in pins:
            found = rejects_of(con, lake, pins[model], model)
            con.execute(f"create or replace view ops.rejects_{role} as select * from {found}")


def show_raw(con: duckdb.DuckDBPyConnection, build: Build, role: str) -> None:
    """Create the view `raw.<role>`: the originals in force, with the order in which they count."""
    declared = [column.name for column in build.run.installation.columns(role)]
    if role == names.DOCUMENTS:
        declared = ["title", "text", "media_type"]
    wanted = [*names.RAW_TECHNICAL, *declared]
    pin = resolve(build.run.lake, names.table("raw", role))
    originals = build.state.originals(role)
    if pin is None or not originals:
        empty = ", ".join(f'null::{_type(name)} as "{name}"' for name in wanted)
        extra = "0 as _position, 0 as _delivery, null::date as _delivered_on"
        con.execute(f"create or replace view raw.{role} as select {empty}, {extra} where false")
        return
    rows = readable(con, build.run.lake, _whole(pin))
    have = {row[0] for row in con.execute(f"describe select * from {rows}").fetchall()}
    columns = ", ".join(f'r."{name}"' if name in have else f'null::{_type(name)} as "{name}"' for name in wanted)
    con.execute(
        f"create or replace table raw.{role}__in_force (step_key varchar, position int, delivery int, day date)"
    )
    con.executemany(
        f"insert into raw.{role}__in_force values (?, ?, ?, ?)",
        [[one.step_key, one.position, one.delivery, one.delivered_on] for one in originals],
    )
    con.execute(
        f"create or replace view raw.{role} as select {columns}, f.position as _position, f.delivery as _delivery, "
        f"f.day as _delivered_on from {rows} r join raw.{role}__in_force f on r.{names.STEP_KEY} = f.step_key"
    )


def _whole(pin: Pin) -> Pin:
    """Return a pin of all columns: raw keeps the columns of every epoch."""
    return pin.model_copy(update={"columns": ()})


def _type(name: str) -> str:
    return "bigint" if name == names.ROW_NUMBER else "varchar"
