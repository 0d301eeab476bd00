"""Every row once: racing writers, processes killed around commits, attempts that were overtaken."""

from __future__ import annotations

import threading
from datetime import date

import pyarrow as pa
import pytest

from cradle import releases
from cradle.catalog import find_pin, open_lake, publish, read, resolve, rollback, tag, write_once
from cradle.catalog.epochs import accept, epoch_of, epochs
from cradle.catalog.run import open_run
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError, EpochRefused, Fenced, NothingDelivered
from cradle.examples import generate
from cradle.points import LISTENERS
from dlt_pipelines.ingest import ingest
from tests.nights import DAY, child, night

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]


def rows(*values: int) -> pa.Table:
    return pa.table({"k": pa.array(values, pa.int64())})


def values(settings: Settings, table: str, ref: str = "main") -> list[int]:
    lake = open_lake(settings, "demo")
    pin = resolve(lake, table, ref)
    assert pin is not None
    return sorted(read(lake, pin).column("k").to_pylist())


def test_a_step_is_written_once_and_found_again_on_any_branch(settings: Settings) -> None:
    lake = open_lake(settings, "demo")
    first = write_once(lake, "marts.t", rows(1, 2), step_key="a", branch="asof-2024-01-01")
    again = write_once(lake, "marts.t", lambda: pytest.fail("computed again"), step_key="a", branch="asof-2024-01-02")
    assert (first.written, again.written) == (True, False)
    assert first.pin.snapshot_id == again.pin.snapshot_id
    assert values(settings, "marts.t", "asof-2024-01-02") == [1, 2]
    assert values(settings, "marts.t") == []  # nothing shows on main before it is published
    assert publish(lake, {"marts.t": first.pin.snapshot_id}) == ["marts.t"]
    assert publish(lake, {"marts.t": first.pin.snapshot_id}) == []
    assert values(settings, "marts.t") == [1, 2]


def test_time_travel_tags_and_rollback(settings: Settings) -> None:
    lake = open_lake(settings, "demo")
    one = write_once(lake, "marts.t", rows(1), step_key="a").pin
    tag(lake, "marts.t", one.snapshot_id, "release-1")
    write_once(lake, "marts.t", rows(1, 2), step_key="b")
    assert values(settings, "marts.t") == [1, 2]
    assert values(settings, "marts.t", "release-1") == [1]
    assert values(settings, "marts.t", str(one.snapshot_id)) == [1]
    rollback(lake, "marts.t", one.snapshot_id)
    assert values(settings, "marts.t") == [1]


@pytest.mark.parametrize("moment", ["looked", "before"])
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_writers_that_looked_before_either_committed_write_once(settings: Settings, mode: str, moment: str) -> None:
    """All four threads look, find nothing, and only then go on: without the protocol the rows stand four times."""
    write_once(open_lake(settings, "demo"), "marts.t", rows(), step_key="begin")
    barrier = threading.Barrier(4, timeout=60)
    passed = threading.local()

    def wait(name: str) -> None:
        if name == f"commit.marts.t.{moment}" and not getattr(passed, "once", False):
            passed.once = True
            barrier.wait()

    written: list[bool] = []

    def work() -> None:
        done = write_once(open_lake(settings, "demo"), "marts.t", rows(1, 2, 3), step_key="a", mode=mode)  # type: ignore[arg-type]
        written.append(done.written)

    LISTENERS.append(wait)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        LISTENERS.remove(wait)
    assert values(settings, "marts.t") == [1, 2, 3]
    assert sorted(written) == [False, False, False, True]


def test_different_appends_at_once_are_all_kept(settings: Settings) -> None:
    def work(number: int) -> None:
        write_once(open_lake(settings, "demo"), "ops.t", rows(number), step_key=f"s{number}", mode="append")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert values(settings, "ops.t") == list(range(6))


def test_an_answer_that_was_lost_after_the_commit_counts_as_done(settings: Settings) -> None:
    def lose(name: str) -> None:
        if name == "commit.marts.t.after":
            raise ConnectionError("the answer was lost")

    LISTENERS.append(lose)
    try:
        done = write_once(open_lake(settings, "demo"), "marts.t", rows(7), step_key="a", mode="append")
    finally:
        LISTENERS.remove(lose)
    assert done.pin.rows == 1
    assert write_once(open_lake(settings, "demo"), "marts.t", rows(7), step_key="a", mode="append").written is False
    assert values(settings, "marts.t") == [7]


def test_new_columns_are_added_and_older_pins_keep_theirs(settings: Settings) -> None:
    lake = open_lake(settings, "demo")
    old = write_once(lake, "marts.t", rows(1), step_key="a").pin
    wide = pa.table({"k": pa.array([1], pa.int64()), "name": ["x"]})
    new = write_once(lake, "marts.t", wide, step_key="b").pin
    narrow = write_once(lake, "marts.t", rows(1), step_key="c").pin
    assert read(lake, old).column_names == ["k"]
    assert read(lake, new).to_pylist() == [{"k": 1, "name": "x"}]
    assert read(lake, narrow).column_names == ["k"]
    assert narrow.content_digest == old.content_digest
    found = find_pin(lake, "marts.t", "a")
    assert found is not None
    assert found.snapshot_id == old.snapshot_id


def test_two_ingests_at_once_load_each_original_once(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=40)
    children = [child(settings, "demo", upto="ingest") for _ in range(2)]
    endings = [(*one.communicate(timeout=300), one.returncode) for one in children]
    assert [ending[2] for ending in endings] == [0, 0], endings
    lake = open_lake(settings, "demo")
    pins = {table: resolve(lake, table) for table in ("raw.sales", "raw.products", "raw.documents", "ops.deliveries")}
    assert {table: pin.rows for table, pin in pins.items() if pin} == {
        "raw.sales": 40,
        "raw.products": 7,
        "raw.documents": 5,
        "ops.deliveries": 5,
    }


def test_an_attempt_that_was_overtaken_releases_nothing(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=20)
    night(settings, "demo", upto="index")
    releases.claim(open_run(settings, "demo", DAY))  # a second attempt begins
    with pytest.raises(Fenced, match="attempt 1 of 2024-04-01 was overtaken by attempt 2"):
        releases.release(settings, "demo", DAY, attempt=1)
    assert releases.current(open_lake(settings, "demo")) is None
    assert releases.release(settings, "demo", DAY, attempt=2).attempt == 2


def test_a_changed_installation_is_refused_until_it_is_accepted(settings: Settings) -> None:
    lake = open_lake(settings, "demo")
    first = epoch_of(lake, load_customer(settings.customers, "demo"), DAY)
    path = settings.customers / "demo.yaml"
    path.write_text(path.read_text().replace("max_chars: 600", "max_chars: 500"))
    changed = load_customer(settings.customers, "demo")
    with pytest.raises(EpochRefused) as refused:
        epoch_of(lake, changed, DAY)
    assert first.params_hash in str(refused.value)
    assert changed.params_hash in str(refused.value)
    assert "installation.chunking.max_chars: 600 → 500" in str(refused.value)
    with pytest.raises(ConfigError, match="is not after 0001-01-01"):
        accept(lake, changed, date(1, 1, 1))
    accept(lake, changed, date(2024, 5, 1))
    assert epoch_of(lake, changed, DAY).epoch == 1
    assert epoch_of(lake, changed, date(2024, 5, 1)).installation.chunking.max_chars == 500
    assert [epoch.epoch for epoch in epochs(lake)] == [1, 2]


def test_a_source_without_a_delivery_stops_with_what_is_missing(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=20)
    (settings.inbox("demo") / "sales" / "sales.csv").unlink()
    with pytest.raises(NothingDelivered, match=r"source sales: nothing delivered.*sales/\*\.csv"):
        ingest(settings, "demo", DAY)
