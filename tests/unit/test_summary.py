"""What a run left behind, in words."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cradle.config import Settings
from cradle.errors import BuildFailed, NightsFailed
from cradle.outcomes import outcome
from cradle.summary import NOTE, note_of, write_fleet, write_summary

DAY = date(2024, 4, 1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a task of the run `backfill__2024-04-02T02:00:00+00:00`."""
    names = {"DAG_ID": "night_demo", "DAG_RUN_ID": RUN, "TASK_ID": "chunk", "TRY_NUMBER": "1"}
    for name, value in names.items():
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    return Settings(home=tmp_path, environment="dev_analytics")


RUN = "backfill__2024-04-02T02:00:00+00:00"


def run_verbs(settings: Settings) -> None:
    for source, rows in (("sales", 1000), ("notes", 0)):
        with outcome(settings, "demo", "ingest", DAY) as noted:
            noted.inputs, noted.counts = {"sources": [source]}, {"rows_read": rows}
    with outcome(settings, "demo", "release", DAY) as noted:
        noted.counts = {"tables": 7, "rejects": 3}


def test_a_summary_has_a_line_for_each_part_of_the_night(settings: Settings) -> None:
    run_verbs(settings)
    made = write_summary(settings, "demo", DAY, RUN, {"ingest": "success", "publish": "skipped"})
    assert (made.failed, made.rejects) == ((), 3)
    lines = [line.split(" | ") for line in made.text.splitlines() if line.startswith("| ")][1:]
    assert [(name.removeprefix("| "), result.removesuffix(" |")) for name, _, result in lines] == [
        ("ingest sales", "1,000 rows read"),
        ("ingest notes", "nothing new"),
        ("release", "7 tables, 3 rejects"),
    ]
    assert "all is well" in made.text
    assert made.path.read_text(encoding="utf-8").startswith(f"# Run {RUN}\n")


def test_a_failure_stands_in_it_with_its_words_until_a_later_try_is_well(settings: Settings) -> None:
    def build() -> None:
        with outcome(settings, "demo", "build", DAY) as noted:
            noted.inputs = {"layer": "marts"}
            raise BuildFailed("orders: 2 rows twice")

    with pytest.raises(BuildFailed):
        build()
    states = {"build.marts": "failed", "chunk": "upstream_failed"}
    made = write_summary(settings, "demo", DAY, RUN, states)
    assert made.failed == ("build marts",)
    assert "orders: 2 rows twice" in made.text
    assert "Not done: build.marts, chunk." in made.text
    with outcome(settings, "demo", "build", DAY) as noted:
        noted.inputs, noted.counts = {"layer": "marts"}, {"tables": 5}
    again = write_summary(settings, "demo", DAY, RUN, {"build.marts": "success"})
    assert (again.failed, "orders" in again.text) == ((), False)


def test_what_other_runs_of_the_date_did_is_left_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run_verbs(settings)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "another")
    with outcome(settings, "demo", "bake", DAY) as noted:
        noted.counts = {"layers": 12}
    assert "bake" not in write_summary(settings, "demo", DAY, RUN, {}).text


def test_a_note_is_as_long_as_airflow_keeps_it(settings: Settings) -> None:
    assert note_of(settings, "demo", RUN) is None
    for number in range(60):
        with outcome(settings, "demo", "ingest", DAY) as noted:
            noted.inputs = {"sources": [f"source_{number}"]}
    write_summary(settings, "demo", DAY, RUN, {})
    note = note_of(settings, "demo", RUN)
    assert note is not None
    assert len(note) <= NOTE
    assert note.startswith("**demo, 2024-04-01: all is well**")
    assert note.endswith("…")


def test_a_fleet_names_the_nights_that_are_not_well_and_keeps_its_file(settings: Settings) -> None:
    with pytest.raises(NightsFailed, match=r"1 of 2 nights did not end well: demo \(failed\)"):
        write_fleet(settings, "manual__1", "fleet__manual__1", {"eaton": "success", "demo": "failed"})
    note = note_of(settings, "_fleet", "manual__1")
    assert note is not None
    assert note.startswith("**1 of 2 nights ended well**")
    assert note.index("| demo |") < note.index("| eaton |"), "what needs a person stands first"
