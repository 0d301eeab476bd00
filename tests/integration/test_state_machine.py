"""The state as of every date, against an oracle: deliveries, corrections, renames, nights and backfills in any order.

Everything is real: files in the inbox, the parser's child, dlt, Iceberg, the view that dbt's models read.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cradle.catalog import connect_duckdb
from cradle.catalog.deliveries import as_of
from cradle.catalog.run import open_run
from cradle.config import Settings
from cradle.errors import NothingDelivered
from dlt_pipelines.ingest import ingest

pytestmark = pytest.mark.integration
START = date(2024, 1, 1)
DAYS = [START + timedelta(days=number) for number in range(4)]
CUSTOMER = """
customer: shop
installation:
  sources:
    - {name: full, role: sales, format: csv, files: ["full/*.csv"], delivery: full, columns: [{name: k}]}
    - {name: parts, role: products, format: csv, files: ["parts/*.csv"], delivery: incremental, columns: [{name: k}]}
"""
contents = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True).map(tuple)


class Inbox(RuleBasedStateMachine):
    """Two sources, one full and undated, one incremental in dated folders, and the oracle: plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        folder = Path(tempfile.mkdtemp())
        (folder / "customers").mkdir()
        (folder / "customers" / "shop.yaml").write_text(CUSTOMER)
        self.settings = Settings(home=folder / "home", customers=folder / "customers")
        self.folder, self.inbox = folder, self.settings.inbox("shop")
        self.full: tuple[str, ...] = ()
        self.name = 0
        self.parts: dict[date, tuple[str, ...]] = {}
        self.delivered: dict[date, tuple[str, ...]] = {}  # oracle of the full source: date → content
        self.corrected: dict[date, tuple[str, ...]] = {}  # oracle of the incremental one
        self.newest: date | None = None
        self.connection: duckdb.DuckDBPyConnection | None = None
        self.put_full(("a",))
        self.put_part(DAYS[0], ("a",))

    def write(self, path: Path, keys: tuple[str, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("k\n" + "".join(f"{key}\n" for key in keys))

    @rule(keys=contents)
    def put_full(self, keys: tuple[str, ...]) -> None:
        self.write(self.inbox / "full" / f"file{self.name}.csv", keys)
        self.full = keys

    @rule()
    def rename_full(self) -> None:
        self.name += 1
        (self.inbox / "full" / f"file{self.name - 1}.csv").rename(self.inbox / "full" / f"file{self.name}.csv")

    @rule(day=st.sampled_from(DAYS), keys=contents)
    def put_part(self, day: date, keys: tuple[str, ...]) -> None:
        self.write(self.inbox / "parts" / day.isoformat() / "part.csv", keys)
        self.parts[day] = keys

    @rule(day=st.sampled_from(DAYS))
    def night(self, day: date) -> None:
        reached = {one for one in self.parts if one <= day}
        old = self.newest is not None and day < self.newest
        full_known = any(one <= day for one in self.delivered) or not old
        if not full_known:
            with pytest.raises(NothingDelivered):
                ingest(self.settings, "shop", day)
            return
        ingest(self.settings, "shop", day)
        self.corrected |= {one: self.parts[one] for one in reached}
        earlier = [one for one in sorted(self.delivered) if one <= day]
        if not old and (not earlier or self.delivered[earlier[-1]] != self.full):
            self.delivered[day] = self.full
        dates = [*self.delivered, *self.corrected]
        self.newest = max(dates) if dates else None

    @invariant()
    def every_date_has_the_state_that_the_oracle_says(self) -> None:
        for day in DAYS if self.newest else []:
            assert self.rows(day, "sales") == self.oracle_full(day), day
            assert self.rows(day, "products") == self.oracle_parts(day), day

    def oracle_full(self, day: date) -> list[str]:
        reached = [one for one in sorted(self.delivered) if one <= day]
        return sorted(self.delivered[reached[-1]]) if reached else []

    def oracle_parts(self, day: date) -> list[str]:
        """Equal files are one original, which counts once."""
        files = {self.corrected[one] for one in self.corrected if one <= day}
        return sorted(key for keys in files for key in keys)

    def rows(self, day: date, role: str) -> list[str]:
        from dbt_project.plugins.current import Build
        from dbt_project.plugins.lake import show_raw

        if self.connection is None:
            self.connection = connect_duckdb(self.settings)
            self.connection.execute("create schema raw")
        run = open_run(self.settings, "shop", day)
        show_raw(self.connection, Build(run, as_of(run.lake, run.installation, day)), role)
        return sorted(row[0] for row in self.connection.execute(f"select k from raw.{role}").fetchall())

    def teardown(self) -> None:
        if self.connection:
            self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


TestInbox = Inbox.TestCase
TestInbox.settings = settings(
    max_examples=6, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
