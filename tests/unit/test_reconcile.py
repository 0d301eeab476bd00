"""The reconciler: every way in which a night may be left behind is found, and nothing is found in a good one."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cradle.alerts import run_failed
from cradle.cli import app
from cradle.config import Settings
from cradle.history import open_history
from cradle.outcomes import outcome
from cradle.reconcile import reconcile, tell
from cradle.reconcile.evidence import Evidence
from cradle.reconcile.findings import SILENT, findings
from cradle.reconcile.known import known_since
from cradle.schedule import Night, image_deadline, nights
from tests.forged_nights import STATES, State, attempt, attempts_of, began, events_of, forge, release_of, rows_of
from tests.receivers import MailServer, by_mail
from tests.unit.test_night_date import ZONES, customer

DAY = date(2024, 4, 1)
NOW = datetime(2024, 4, 9, 12, tzinfo=UTC)
NIGHTS = st.lists(st.sampled_from(STATES), min_size=1, max_size=7)


def days(count: int) -> list[date]:
    return [DAY + timedelta(days=at) for at in range(count)]


def evidence(states: list[State]) -> tuple[list[Night], Evidence]:
    """What nights of these states leave behind."""
    known = Evidence(runs={})
    for day, state in zip(days(len(states)), states, strict=True):
        release = release_of("demo", day)
        known.attempts[day] = attempts_of(state, day, release)
        known.releases += rows_of(state, day, release)
        known.images[release.release_id] = {event: ["sha256:x"] for event in events_of(state)}
        if state == "no release":
            known.runs[day] = "success"  # type: ignore[index]
    return [Night(day, began(day)) for day in days(len(states))], known


@given(states=NIGHTS)
def test_what_is_found_is_what_was_left_behind(states: list[State]) -> None:
    expected, known = evidence(states)
    seen = [(one.logical_date, one.kind) for one in findings("demo", expected, known, NOW + timedelta(days=9))]
    wanted = [(day, state) for day, state in zip(days(len(states)), states, strict=True) if state != "well"]
    # A row that was lost leaves its night without a release, too.
    also = [(day, "not ended") for day, state in wanted if state == "lost release"]
    assert sorted(seen) == sorted([*wanted, *also])


@given(states=NIGHTS, kept=st.data())
def test_an_asset_event_that_was_lost_or_is_there_without_a_release_is_found(
    states: list[State], kept: st.DataObject
) -> None:
    expected, known = evidence(states)
    known.asset_dates = kept.draw(st.sets(st.sampled_from(days(len(states)))))
    seen = {
        (one.kind, one.logical_date)
        for one in findings("demo", expected, known, NOW + timedelta(days=9))
        if "event" in one.kind
    }
    released = {one.logical_date for one in known.releases}
    wanted = {("lost event", day) for day in released - known.asset_dates}
    assert seen == wanted | {("event without release", day) for day in known.asset_dates - released}


@given(states=NIGHTS, minutes=st.integers(0, int(SILENT.total_seconds() // 60) - 1))
def test_a_night_that_gave_a_sign_of_life_just_now_is_not_missed(states: list[State], minutes: int) -> None:
    expected, known = evidence(states)
    last = expected[-1].logical_date
    sign = known.last_sign(last)
    if sign is not None and states[-1] not in ("failed", "doubled release"):
        seen = findings("demo", expected, known, sign + timedelta(minutes=minutes))
        assert (last in {one.logical_date for one in seen}) == (states[-1] == "no outcome")


@pytest.mark.parametrize(
    ("later", "repaired"),
    [
        (attempt(DAY, "build", 20), True),
        (attempt(DAY, "verify", 20), True),
        (attempt(DAY, "ingest", 20), False),
        (attempt(DAY, "verify", -20), False),
        (attempt(DAY, "publish", 20), False),
    ],
)
def test_a_failure_is_repaired_by_its_verb_or_a_later_one(later: dict[str, object], repaired: bool) -> None:
    known = Evidence({DAY: [attempt(DAY, "build", 0, ok=False), later]})
    kinds = {one.kind for one in findings("demo", [Night(DAY, began(DAY))], known, NOW)}
    assert kinds == ({"not ended"} if repaired else {"failed"})


def test_one_source_does_not_repair_another() -> None:
    failed = attempt(DAY, "ingest", 0, ok=False, inputs={"sources": ["a"]})
    for sources, kind in ((["b"], "failed"), (["a", "b"], "not ended")):
        known = Evidence({DAY: [failed, attempt(DAY, "ingest", 5, inputs={"sources": sources})]})
        assert [one.kind for one in findings("demo", [Night(DAY, began(DAY))], known, NOW)] == [kind]


def test_one_model_does_not_repair_another_and_a_build_by_hand_repairs_both() -> None:
    bad, good = ({"run_id": "r", "task_id": f"build.{name}"} for name in ("orders", "products"))
    failed = attempt(DAY, "build", 0, ok=False, run=bad)
    for run, kind in ((good, "failed"), (bad, "not ended"), (None, "not ended")):
        known = Evidence({DAY: [failed, attempt(DAY, "build", 5, run=run)]})
        assert [one.kind for one in findings("demo", [Night(DAY, began(DAY))], known, NOW)] == [kind]


def test_going_back_to_what_was_before_is_no_doubled_release() -> None:
    rows = [release_of("demo", DAY, at, content) for at, content in enumerate(("a", "b", "a"), 1)]
    known = Evidence(
        {DAY: [attempt(DAY, "release", at, outputs={"release": one.release_id}) for at, one in enumerate(rows)]}
    )
    known.releases = rows
    known.images = {one.release_id: {"baked": ["x"], "verified": ["x"]} for one in rows}
    assert findings("demo", [Night(DAY, began(DAY))], known, NOW) == []


@pytest.mark.integration
def test_every_state_is_found_in_a_lake_and_told_in_one_message(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    known_since(found, "demo", began(DAY) - timedelta(days=1))
    states: list[State] = [
        "well",
        "never started",
        "failed",
        "no image",
        "not verified",
        "no outcome",
        "doubled release",
    ]
    for day, state in zip(days(7), states, strict=True):
        forge(found, "demo", day, state)
    now = began(DAY + timedelta(days=6)) + timedelta(hours=10)
    made = reconcile(found, "demo", now)
    assert len(made.dates) == 7
    assert [(one.logical_date, one.kind) for one in made.findings] == list(zip(days(7), states, strict=True))[1:]
    tell(found, made, now)
    tell(found, made, now)
    (subject,) = mail.subjects()
    assert subject == "[cradle] demo: never started, failed, no image, not verified, no outcome, doubled release"
    forge(found, "demo", days(7)[1], "well")
    tell(found, reconcile(found, "demo", now), now)
    assert len(mail.mails) == 2
    assert mail.subjects().count("[cradle] demo, 2024-04-02: is well again") == 1


def test_a_night_that_was_told_already_is_not_told_again(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    known_since(found, "demo", began(DAY) - timedelta(days=1))
    forge(found, "demo", DAY, "failed")
    now = began(DAY) + timedelta(hours=10)
    run_failed(found, "demo", DAY, run_id="r", dag_id="night_demo", now=now)
    made = reconcile(found, "demo", now)
    assert [one.kind for one in made.findings] == ["failed"]
    tell(found, made, now)
    assert len(mail.mails) == 1


def test_what_airflow_says_is_held_against_what_is_there(settings: Settings) -> None:
    known_since(settings, "demo", began(DAY) - timedelta(days=1))
    now = began(DAY + timedelta(days=1)) + timedelta(hours=10)
    made = reconcile(settings, "demo", now, runs={DAY: "success", DAY + timedelta(days=1): "failed"})
    assert [one.kind for one in made.findings] == ["no release", "failed"]
    assert "Airflow says success for 2024-04-01" in made.findings[0].text


def test_a_broken_file_and_a_lake_that_can_not_be_read_are_findings(settings: Settings) -> None:
    (settings.customers / "demo.yaml").write_text("customer: [")
    (settings.lake("eaton")).parent.mkdir(parents=True)
    settings.lake("eaton").write_text("not a folder")
    seen = {one: reconcile(settings, one, NOW).findings[0] for one in ("demo", "eaton")}
    assert (seen["demo"].kind, seen["demo"].run) == ("broken file", "cradle doctor demo")
    assert (seen["eaton"].kind, seen["eaton"].logical_date) == ("not readable", None)


def test_the_command_ends_with_eight_when_something_is_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cradle.cli.verbs.settings", lambda: settings)
    young = CliRunner().invoke(app, ["reconcile", "--json"])
    assert (young.exit_code, [len(one["findings"]) for one in json.loads(young.stdout)]) == (0, [0, 0, 0])
    (settings.alerts() / "demo" / "known_since").write_text("2024-01-01T00:00:00+00:00")
    old = CliRunner().invoke(app, ["reconcile", "demo", "--days", "3"])
    assert old.exit_code == 8
    assert old.stdout.count("never started") == 3


def test_a_run_tells_its_outcomes_which_run_it_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "build")
    with outcome(settings, "demo", "build", DAY):
        pass
    (path,) = (settings.outcomes("demo") / str(DAY)).glob("*.json")
    assert json.loads(path.read_text())["run"] == {"run_id": "manual__1", "task_id": "build"}


def test_the_outcomes_are_a_view_beside_the_tables_of_the_release(settings: Settings) -> None:
    for at, state in enumerate(("well", "failed")):
        forge(settings, "demo", days(2)[at], state)  # type: ignore[arg-type]
    con, _ = open_history(settings, "demo", None)
    asked = "select logical_date, verb, error.type, counts->>'rows' from ops.outcomes where not ok"
    assert con.execute(asked).fetchall() == [(days(2)[1], "chunk", "BuildFailed", "5")]
    assert con.execute("select count(*) from ops.outcomes").fetchall() == [(11,)]
    shutil.rmtree(settings.outcomes("demo"))
    con, _ = open_history(settings, "demo", None)
    assert con.execute("select count(*) from ops.outcomes").fetchall() == [(0,)]


# Schedule


@given(now=st.integers(1_672_531_200, 1_767_225_600), hour=st.integers(4, 23), zone=st.sampled_from(ZONES))
def test_each_day_is_one_night_and_its_hour_comes_after_its_run(now: int, hour: int, zone: str) -> None:
    who, moment = customer(f"0 {hour} * * *", zone), datetime.fromtimestamp(now, UTC)
    found = nights(who, moment, 7)
    assert len(found) == 7
    for night in found:
        local = night.runs_at.astimezone(who.operation.zone)
        assert (local.date(), local.hour) == (night.logical_date + timedelta(days=1), hour)
        assert moment - timedelta(days=7, hours=1) <= night.runs_at <= moment
        by = who.model_copy(update={"operation": who.operation.model_copy(update={"image_by": time(6)})})
        deadline = image_deadline(by, night)
        assert deadline is not None
        assert timedelta(0) < deadline - night.runs_at <= timedelta(hours=25)
        assert deadline.astimezone(who.operation.zone).time() == time(6)


def test_a_weekly_night_is_expected_once_a_week() -> None:
    assert [one.logical_date for one in nights(customer("0 2 * * 1"), NOW, 7)] == [date(2024, 4, 1)]
    assert image_deadline(customer(), Night(DAY, began(DAY))) is None
