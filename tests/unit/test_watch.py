"""The watchdog: no image by the hour is an alarm, also when no scheduler ever ran; the clock is handed in."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml
from typer.testing import CliRunner

from cradle.alerts.health import HEARTBEAT
from cradle.alerts.outbox import waiting
from cradle.cli import app
from cradle.config import PROJECT, Settings
from cradle.reconcile import reconcile
from cradle.reconcile.known import known_since
from cradle.secrets import write_secret
from cradle.services.erase import erase
from cradle.watch import watch
from tests.forged_nights import STATES, State, began, forge
from tests.receivers import MailServer, by_mail, told

DAY = date(2024, 4, 1)
SIX = datetime(2024, 4, 2, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def must_be_there(settings: Settings, customer: str, by: str | None = "06:00") -> None:
    """Give a customer an hour for its image, in UTC, and let it be known for long."""
    path = settings.customers / f"{customer}.yaml"
    content = yaml.safe_load(path.read_text())
    content["operation"] |= {"image_by": by, "timezone": "UTC"}
    path.write_text(yaml.safe_dump(content))
    known_since(settings, customer, began(DAY) - timedelta(days=30))


def test_a_night_that_no_scheduler_ever_started_is_an_alarm_after_its_hour_and_once(
    settings: Settings, mail: MailServer
) -> None:
    found = by_mail(settings, mail)
    must_be_there(found, "demo")
    forge(found, "demo", DAY - timedelta(days=1), "well")
    assert watch(found, SIX - MINUTE).wrong == []
    for minutes in range(0, 120, 20):
        watch(found, SIX + minutes * MINUTE)
    assert mail.subjects() == ["[cradle] demo, 2024-04-01: no image by 06:00 (never started)"]
    body = mail.mails[0].get_body(("plain",))
    assert body is not None
    assert "`cradle night demo --date 2024-04-01`" in body.get_content().replace("\n", " ")
    forge(found, "demo", DAY, "well")
    for _ in range(2):
        assert watch(found, SIX + timedelta(hours=3)).wrong == []
    assert [str(one["Subject"]) for one in mail.mails[1:]] == ["[cradle] demo, 2024-04-01: is well again"]


@pytest.mark.parametrize("state", STATES)
def test_only_a_verified_image_of_that_very_date_is_good(settings: Settings, state: State) -> None:
    must_be_there(settings, "demo")
    forge(settings, "demo", DAY - timedelta(days=1), "well")
    forge(settings, "demo", DAY, state)
    seen = watch(settings, SIX)
    good = state in ("well", "no outcome", "doubled release")
    assert (seen.well, bool(seen.wrong)) == ([("demo", DAY)] if good else [], not good)


def test_without_an_hour_nobody_is_alarmed(settings: Settings) -> None:
    must_be_there(settings, "demo", None)
    assert watch(settings, SIX + timedelta(days=3)).wrong == []


@pytest.mark.parametrize(("seen_at", "alarmed"), [(began(DAY) - MINUTE, True), (SIX - MINUTE, False), (SIX, False)])
def test_a_customer_that_is_younger_than_its_night_is_not_alarmed(
    settings: Settings, seen_at: datetime, alarmed: bool
) -> None:
    known_since(settings, "demo", seen_at)
    must_be_there(settings, "demo")
    assert bool(watch(settings, SIX).wrong) == alarmed
    assert len(watch(settings, SIX + timedelta(days=1)).wrong) == 1


def test_a_broken_file_is_an_alarm_and_the_others_are_looked_at(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail, "eaton").model_copy(update={"alert_email": "factory@example.com"})
    must_be_there(found, "eaton")
    sound = (found.customers / "demo.yaml").read_text()
    (found.customers / "demo.yaml").write_text("customer: [")
    for _ in range(2):
        watch(found, SIX)
    (found.customers / "demo.yaml").write_text(sound)
    watch(found, SIX)
    assert [(mail_["To"], mail_["Subject"]) for mail_ in mail.mails] == [
        ("factory@example.com", "[cradle] demo: its YAML is broken, no night can run"),
        ("nights@example.com", "[cradle] eaton, 2024-04-01: no image by 06:00 (never started)"),
        ("factory@example.com", "[cradle] demo: is well again"),
    ]


def test_customers_that_miss_for_one_reason_are_one_message(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail, "demo", "eaton", "lightnet")
    for customer in ("demo", "eaton", "lightnet"):
        must_be_there(found, customer)
    forge(found, "lightnet", DAY, "failed")
    watch(found, SIX)
    assert mail.subjects() == [
        "[cradle] 2 customers (demo, eaton), 2024-04-01: no image by 06:00 (never started)",
        "[cradle] lightnet, 2024-04-01: no image by 06:00 (failed)",
    ]


def test_a_lake_that_can_not_be_read_is_an_alarm(settings: Settings) -> None:
    must_be_there(settings, "demo")
    settings.lake("demo").parent.mkdir(parents=True)
    settings.lake("demo").write_text("not a folder")
    (alarm,) = watch(settings, SIX).wrong
    assert alarm.what == "no image by 06:00 (can't be told)"


def test_a_server_that_is_away_is_asked_once_and_is_one_message(
    settings: Settings, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cradle.catalog.rest.PAUSES", (0.0,))
    found = by_mail(settings, mail, "demo", "eaton", "lightnet").model_copy(
        update={
            "catalog": "polaris",
            "catalog_url": "http://127.0.0.1:9/api/catalog",
            "s3_endpoint": "http://store:8333",
        }
    )
    for customer in ("demo", "eaton", "lightnet"):
        must_be_there(found, customer)
    # Only the first customer has a login: whoever is asked after it would fail otherwise.
    write_secret(found, "demo", found.environment, "pipeline", {"client_id": "demo", "client_secret": "of the demo"})
    assert [one.server for one in watch(found, SIX).wrong] == ["127.0.0.1:9"] * 3
    (subject,) = mail.subjects()
    assert subject.startswith("[cradle] 3 customers (demo, eaton, lightnet), 2024-04-01: 127.0.0.1:9 is away")


def test_the_hour_is_the_customers_own(settings: Settings) -> None:
    must_be_there(settings, "demo")
    path = settings.customers / "demo.yaml"
    path.write_text(path.read_text().replace("timezone: UTC", "timezone: America/New_York"))
    forge(settings, "demo", DAY - timedelta(days=1), "well")
    assert watch(settings, SIX.replace(hour=9, minute=59)).wrong == []
    assert len(watch(settings, SIX.replace(hour=10)).wrong) == 1  # 06:00 in New York


def test_the_command_says_so_when_a_message_could_not_be_sent(
    settings: Settings, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = by_mail(settings, mail).model_copy(update={"smtp": "smtp://127.0.0.1:1"})
    monkeypatch.setattr("cradle.cli.verbs.settings", lambda: found)
    must_be_there(found, "demo")
    done = CliRunner().invoke(app, ["watch", "--once"])
    assert done.exit_code == 9
    assert "no image by 06:00 (never started)" in done.stderr
    assert "ConnectionRefusedError" in str(waiting(found)[0].error)
    listed = CliRunner().invoke(app, ["alerts", "list"])
    assert "refused" in listed.stdout.lower()


def test_doctor_names_a_channel_that_can_not_work_and_a_watchdog_that_sleeps(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checks() -> dict[str, dict[str, object]]:
        done = CliRunner().invoke(app, ["doctor", "demo", "--json"])
        return {one["check"]: one for one in json.loads(done.stdout)}

    monkeypatch.setattr("cradle.cli.verbs.settings", lambda: settings)
    assert {checks()[name]["ok"] for name in ("alerts", "watchdog")} == {True}
    told(settings, "demo", webhook="chat")
    must_be_there(settings, "demo")
    seen = checks()
    assert "webhook _factory/webhook_chat: there is no secret" in str(seen["alerts"]["detail"])
    assert "demo: image_by is set, and nobody has looked" in str(seen["watchdog"]["detail"])
    watch(settings, datetime.now(UTC))
    assert checks()["watchdog"]["ok"] is True
    (settings.alerts() / HEARTBEAT).write_text(SIX.isoformat())
    assert "it looked last at 2024-04-02 06:00 UTC" in str(checks()["watchdog"]["detail"])


def test_the_stacks_watchdog_needs_nothing_of_airflow() -> None:
    services = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text())["services"]
    watchdog = services["watchdog"]
    assert watchdog["command"] == ["cradle", "watch", "--every", "300"]
    assert list(watchdog["depends_on"]) == ["bootstrap"]
    assert watchdog["secrets"] == []
    assert not [name for name in watchdog["environment"] if "AIRFLOW" in name]
    assert not [one for one in watchdog["volumes"] if "airflow" in one or "operator" in one]
    known = {f"CRADLE_{name.upper()}" for name in Settings.model_fields}
    assert {name for one in services.values() for name in one.get("environment", {}) if "CRADLE_" in name} <= known


def test_an_erased_customer_whose_file_is_still_there_is_left_alone(settings: Settings) -> None:
    must_be_there(settings, "demo")
    erase(settings, "demo", "demo", "erase demo for good")
    assert watch(settings, SIX).wrong == []
    assert reconcile(settings, "demo", SIX).ok
    assert not settings.lake("demo").exists()
    assert not (settings.alerts() / "demo").exists()
