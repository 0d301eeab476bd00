"""Full refresh: what is known is computed again, what is right stays as it is, what is wrong is healed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from cradle.catalog import Lake, Pin, open_lake, read, resolve, write_once
from cradle.catalog.commit import COLUMNS, STEP_KEY
from cradle.config import Settings
from cradle.examples import generate
from cradle.indexing import chunk_documents, embed_chunks, index_chunks
from cradle.vectors.collection import folder_of
from dbt_project.plugins.build import build
from dlt_pipelines.ingest import ingest
from tests.nights import DAY, contents

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
BRANCH = f"asof-{DAY}"


def again(found: Settings) -> Settings:
    return found.model_copy(update={"full_refresh": True})


def head(lake: Lake, table: str, ref: str = BRANCH) -> Pin:
    pin = resolve(lake, table, ref)
    assert pin is not None
    return pin


def snapshots(lake: Lake, *tables: str) -> dict[str, int]:
    return {table: len(lake.catalog.load_table(lake.identifier(table)).snapshots()) for table in tables}


def plant(lake: Lake, table: str, row: dict[str, Any], *, honest: bool) -> None:
    """Change a row as a broken writer would: under the step key of what stands there, and perhaps under its digest."""
    pin = head(lake, table)
    loaded = lake.catalog.load_table(lake.identifier(table))
    rows = read(lake, pin)
    first, *rest = rows.to_pylist()
    wrong = pa.Table.from_pylist([{**first, **row}, *rest], schema=rows.schema)
    summary = {STEP_KEY: pin.step_key, COLUMNS: str(list(pin.columns)).replace("'", '"')}
    summary |= {} if honest else {"cradle.content-digest": pin.content_digest}
    summary |= {"cradle.inputs": loaded.snapshot_by_id(pin.snapshot_id).summary.additional_properties["cradle.inputs"]}
    loaded.overwrite(wrong, snapshot_properties=summary, branch=BRANCH)


def verbs(found: Settings, day: date = DAY) -> None:
    for verb in (ingest, build, chunk_documents, embed_chunks, index_chunks):
        verb(found, "demo", day)


@pytest.mark.parametrize("honest", [True, False], ids=["its own digest", "the right digest"])
def test_a_wrong_row_under_the_right_key_stays_until_a_full_refresh(settings: Settings, honest: bool) -> None:
    generate("demo", settings.inbox("demo"), rows=30)
    ingest(settings, "demo", DAY)
    build(settings, "demo", DAY)
    lake = open_lake(settings, "demo")
    right = contents(lake)
    wrong = {"marts.syndication_products", "staging.stg_products"}
    for table in wrong:
        plant(lake, table, {"name": "WRONG"}, honest=honest)
    build(settings, "demo", DAY)
    assert {table for table, digest in contents(lake).items() if digest != right[table]} >= wrong
    healed = build(again(settings), "demo", DAY)
    assert contents(lake) == right
    assert {table for table, one in healed.tables.items() if one.written} == wrong
    assert not any(one.written for one in build(settings, "demo", DAY).tables.values())
    assert contents(lake) == right


def test_a_full_refresh_keeps_what_is_right_and_heals_chunks_and_a_damaged_collection(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=30)
    verbs(settings)
    lake = open_lake(settings, "demo")
    kept = ["raw.sales", "raw.documents", "ops.rejects", "vectors.embeddings", "vectors.collections"]
    kept += ["staging.stg_sales", "marts.orders", "marts.products_chunks", "marts.general_chunks"]
    before, right = snapshots(lake, *kept), contents(lake)
    verbs(again(settings))
    assert snapshots(lake, *kept) == before
    assert contents(lake) == right

    plant(lake, "marts.general_chunks", {"title": "wrong"}, honest=True)
    chunk_documents(settings, "demo", DAY)
    assert "wrong" in {row["title"] for row in read(lake, head(lake, "marts.general_chunks")).to_pylist()}
    chunk_documents(again(settings), "demo", DAY)
    assert contents(lake) == right
    digest = read(lake, head(lake, "vectors.collections")).to_pylist()[0]["digest"]
    store = next(
        path for path in (folder_of(settings, "demo", digest) / "store").iterdir() if path.suffix == ".sqlite3"
    )
    store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])
    assert not index_chunks(settings, "demo", DAY).built  # what exists is believed
    assert index_chunks(again(settings), "demo", DAY).built
    assert not index_chunks(again(settings), "demo", DAY).built
    assert contents(lake) == right


@pytest.fixture
def write(settings: Settings) -> Callable[..., tuple[bool, list[int]]]:
    lakes = {flag: open_lake(settings.model_copy(update={"full_refresh": flag}), "demo") for flag in (False, True)}

    def once(table: str, key: str, values: list[int], *, refresh: bool) -> tuple[bool, list[int]]:
        rows = pa.table({"k": pa.array(values, pa.int64())})
        done = write_once(lakes[refresh], table, lambda: rows, step_key=key, branch=BRANCH)
        return done.written, sorted(read(lakes[refresh], head(lakes[refresh], table)).column("k").to_pylist())

    return once


STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 1), max_size=2), st.booleans()), max_size=6)


@hypothesis(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_write_once_is_a_memory_that_a_full_refresh_corrects(write: Any, steps: list[Any], tmp_path: Path) -> None:
    """Against a model: key → rows, of which only a refresh with other rows makes a new snapshot."""
    count = tmp_path / "count"
    number = int(count.read_text()) if count.exists() else 0
    count.write_text(str(number + 1))
    known: dict[str, list[int]] = {}
    for key, values, refresh in steps:
        new = key not in known or (refresh and sorted(values) != known[key])
        known[key] = sorted(values) if new else known[key]
        assert write(f"marts.t{number}", key, values, refresh=refresh) == (new, known[key])


def test_rows_that_are_appended_are_never_there_twice(settings: Settings) -> None:
    lake = open_lake(again(settings), "demo")
    rows = pa.table({"k": [1, 2]})
    for _ in range(2):
        write_once(lake, "ops.t", rows, step_key="a", mode="append")
    assert read(lake, head(lake, "ops.t", "main")).column("k").to_pylist() == [1, 2]
