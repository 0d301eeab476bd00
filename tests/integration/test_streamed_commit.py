"""Rows that stream into a commit: the same content digest and the same rows, however they are cut."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from cradle.catalog import open_lake, read, rows, write_once
from cradle.config import Settings
from cradle.digest import PartsDigest, content_digest

pytestmark = pytest.mark.integration

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field('odd "name"', pa.int64()),
        pa.field("money", pa.decimal128(18, 4)),
        pa.field("day", pa.date32()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("real", pa.float64()),
        pa.field("flag", pa.bool_()),
        pa.field("vector", pa.list_(pa.float32())),
        pa.field("bytes", pa.binary()),
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ROW = st.tuples(
    st.none() | TEXT,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.decimals(-(10**13), 10**13, places=4).map(Decimal),
    st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.floats(),
    st.none() | st.booleans(),
    st.none() | st.lists(st.floats(width=32), max_size=3),
    st.none() | st.binary(max_size=4),
)


@hypothesis(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=12), st.data())
def test_the_digest_of_parts_is_the_digest_of_the_whole(drawn: list[tuple[object, ...]], data: st.DataObject) -> None:
    whole = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in drawn], schema=SCHEMA)
    with duckdb.connect(":memory:") as con:
        con.execute("set TimeZone = 'UTC'")
        con.register("whole", whole)
        parts = PartsDigest(con, SCHEMA)
        at = 0
        while at < len(drawn):
            length = data.draw(st.integers(1, len(drawn)))
            parts.add(whole.slice(at, length))
            at += length
        assert parts.value() == content_digest(con, "whole")


def batches(count: int) -> Iterator[pa.RecordBatch]:
    """Rows of about 1 KB each, 100 at a time."""
    for at in range(0, count, 100):
        keys = list(range(at, min(at + 100, count)))
        texts = [f"{key:08d}" * 128 for key in keys]
        yield pa.record_batch([pa.array(keys, pa.int64()), pa.array(texts)], names=["k", "t"])


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_stream_is_one_commit_with_the_rows_and_the_digest_of_the_table(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    lake = open_lake(settings, "demo")
    whole = pa.Table.from_batches(batches(1000))
    table = write_once(lake, "marts.whole", whole, step_key="a", mode=mode).pin  # type: ignore[arg-type]
    monkeypatch.setattr(rows, "PART_BYTES", 150_000)
    reader = pa.RecordBatchReader.from_batches(whole.schema, batches(1000))
    streamed = write_once(lake, "marts.streamed", lambda: reader, step_key="a", mode=mode).pin  # type: ignore[arg-type]
    assert read(lake, streamed).sort_by("k").equals(read(lake, table).sort_by("k"))
    assert (streamed.rows, streamed.content_digest) == (1000, table.content_digest)
    loaded = lake.catalog.load_table(lake.identifier("marts.streamed"))
    assert len(list(loaded.scan().plan_files())) >= 7
    assert [one.summary["cradle.step-key"] for one in loaded.snapshots() if one.summary["cradle.step-key"]] == ["a"]


def test_a_stream_is_never_held_as_a_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 parts, few are alive at a time: whoever produces rows waits for whoever writes them."""
    monkeypatch.setattr(rows, "PART_BYTES", 100_000)
    made, written, most, lock = 0, 0, 0, threading.Lock()
    write = rows._write

    def counted(loaded: object, part: pa.Table) -> object:
        nonlocal written
        found = write(loaded, part)  # type: ignore[arg-type]
        with lock:
            written += part.num_rows
        return found

    def watched() -> Iterator[pa.RecordBatch]:
        nonlocal made, most
        for batch in batches(20_000):
            with lock:
                made += batch.num_rows
                most = max(most, made - written)
            yield batch

    monkeypatch.setattr(rows, "_write", counted)
    schema = next(batches(1)).schema
    pin = write_once(
        open_lake(settings, "demo"),
        "marts.t",
        lambda: pa.RecordBatchReader.from_batches(schema, watched()),
        step_key="a",
        mode="append",
    ).pin
    assert pin.rows == written == 20_000
    assert most <= 6 * 100


def test_rows_are_computed_once_for_a_table_that_is_new_or_gets_columns(settings: Settings) -> None:
    lake, calls = open_lake(settings, "demo"), list[int]()

    def compute(*names: str) -> pa.Table:
        calls.append(1)
        return pa.table({name: [1] for name in names})

    write_once(lake, "marts.t", lambda: compute("k"), step_key="a")
    write_once(lake, "marts.t", lambda: compute("k", "new"), step_key="b")
    assert len(calls) == 2
