"""Alerts over a real mail server and a real receiver of webhooks: once per cause, never lost, never with a secret."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cradle.alerts import Alarm, nights_well, raise_alarms, rejects_above_limit, run_failed, run_well
from cradle.alerts.alarm import normalised, run_link, server_of
from cradle.alerts.causes import open_causes
from cradle.alerts.outbox import GIVE_UP, deliver, waiting
from cradle.alerts.targets import targets
from cradle.config import Settings
from cradle.errors import BuildFailed, CradleError, InputError, Unavailable
from cradle.outcomes import outcome
from cradle.points import LISTENERS
from cradle.secrets import ANY, FACTORY, secret_path, write_secret
from cradle.services.provision import hand_out
from tests.receivers import PASSWORD, USER, MailServer, Receiver, by_mail, certificate, told

DAY = date(2024, 4, 1)
NOW = datetime(2024, 4, 2, 3, tzinfo=UTC)
RUN = {"run_id": "scheduled__2024-04-01T02:00:00+00:00", "dag_id": "night_demo"}


def by_hook(settings: Settings, hook: Receiver) -> None:
    """Let the demo's alerts go to the receiver."""
    told(settings, "demo", webhook=True)
    write_secret(settings, "demo", ANY, "webhook", {"url": hook.url})


def fail(settings: Settings, verb: str, error: Exception, customer: str = "demo") -> None:
    """Let a verb fail as it does in a night."""
    with pytest.raises(type(error)), outcome(settings, customer, verb, DAY):
        raise error


@pytest.fixture
def in_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Airflow tells a task's process."""
    for name, value in (("DAG_ID", RUN["dag_id"]), ("DAG_RUN_ID", RUN["run_id"]), ("TASK_ID", "step")):
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)


def alarm(customer: str = "demo", cause: str = "a", day: date = DAY, **more: str) -> Alarm:
    """An alarm of some cause."""
    return Alarm("failed", customer, "dev_analytics", day, f"build failed ({cause})", "It failed.", cause, **more)


@pytest.mark.usefixtures("in_airflow")
def test_a_failed_run_says_what_failed_where_and_what_to_run(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    with outcome(found, "demo", "ingest", DAY) as noted:
        noted.counts = {"rows_accepted": 1000}
    fail(found, "build", BuildFailed("3 rows of marts.orders have no key. Run `cradle build demo --date 2024-04-01`."))
    answer = run_failed(found, "demo", DAY, **RUN, log_tail="\n".join(f"line {number}" for number in range(50)))
    assert (answer.messages, answer.sent, answer.waiting) == (1, 1, 0)
    (mail_,) = mail.mails
    assert mail_["Subject"] == "[cradle] demo, 2024-04-01: build failed (BuildFailed)"
    assert (mail_["To"], mail_["Auto-Submitted"]) == ("nights@example.com", "auto-generated")
    for form in ("plain", "html"):
        part = mail_.get_body((form,))
        assert part is not None
        text = part.get_content()
        for wanted in (
            "3 rows of marts.orders",
            "cradle build demo --date 2024-04-01",
            "1,000 rows accepted",
            "line 49",
        ):
            assert wanted in text, form
        assert "line 29" not in text
        assert "airflow.example.com/dags/night_demo/runs/scheduled__2024-04-01T02%3A00%3A00%2B00%3A00" in text


@pytest.mark.usefixtures("in_airflow")
def test_the_failed_verbs_are_those_of_the_run_that_nothing_made_good(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    fail(found, "build", Unavailable("away"))
    with outcome(found, "demo", "build", DAY):
        pass
    fail(found, "embed", InputError("wrong"))
    os.environ["AIRFLOW_CTX_DAG_RUN_ID"] = "another"
    fail(found, "verify", BuildFailed("not of this run"))
    run_failed(found, "demo", DAY, **RUN)
    assert mail.subjects() == ["[cradle] demo, 2024-04-01: embed failed (InputError)"]


def test_a_run_whose_process_was_killed_is_told_too(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    run_failed(found, "demo", DAY, **RUN, log_tail="Killed")
    assert mail.subjects() == ["[cradle] demo, 2024-04-01: the run failed, and no step said why"]


def test_a_cause_is_told_once_in_its_window_and_then_with_its_count(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    for minutes in range(0, 11 * 60, 30):
        raise_alarms(found, [alarm()], NOW + timedelta(minutes=minutes))
    assert len(mail.mails) == 1
    raise_alarms(found, [alarm()], NOW + timedelta(hours=12))
    body = mail.mails[1].get_body(("plain",))
    assert body is not None
    assert "told again   23 times since 2024-04-02 03:00 UTC" in body.get_content()


def test_well_again_is_told_once_and_only_to_who_was_alarmed(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    run_well(found, "demo", DAY)
    assert not mail.mails
    raise_alarms(found, [alarm(cause="a"), alarm(cause="b"), alarm(cause="a", day=DAY + timedelta(days=1))], NOW)
    for _ in range(3):
        run_well(found, "demo", DAY, now=NOW)
    assert mail.subjects().count("[cradle] demo, 2024-04-01: is well again") == 1
    assert len(mail.mails) == 4
    raise_alarms(found, [alarm()], NOW)
    assert len(mail.mails) == 5


def test_a_run_without_an_image_does_not_make_a_missing_one_well(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    raise_alarms(found, [alarm(), replace(alarm(), kind="no image")], NOW)
    for verb, well in (("release", 1), ("verify", 2)):
        with outcome(found, "demo", verb, DAY):
            pass
        run_well(found, "demo", DAY, now=NOW)
        assert len(mail.mails) == 2 + well


def test_the_same_server_is_one_message_for_the_fleet(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail, "demo", "eaton", "lightnet").model_copy(
        update={
            "catalog": "polaris",
            "s3_endpoint": "http://store:8333",
            "catalog_url": "http://polaris:8181/api/catalog",
        }
    )
    messages = {
        "demo": "HTTPConnectionPool(host='polaris', port=8181): Max retries exceeded",
        "eaton": "ConnectError: http://polaris:8181/api/catalog/v1/oauth/tokens refused",
        "lightnet": 'Could not connect to the endpoint URL: "http://store:8333/cradle-lightnet-files"',
    }
    for customer, message in messages.items():
        fail(found, "build", Unavailable(message), customer)
        run_failed(found, customer, DAY, run_id="r", dag_id=f"night_{customer}", now=NOW)
    assert mail.subjects() == [
        "[cradle] demo, 2024-04-01: polaris:8181 is away (build failed)",
        "[cradle] lightnet, 2024-04-01: store:8333 is away (build failed)",
    ]
    later = NOW + timedelta(hours=12)
    raise_alarms(found, [alarm("demo", server="polaris:8181")], later - timedelta(hours=1))
    raise_alarms(found, [alarm("eaton", server="polaris:8181")], later)
    assert "[cradle] 2 customers (demo, eaton), 2024-04-01: build failed (a)" in mail.subjects()
    run_well(found, "demo", DAY, now=later)
    assert len(mail.mails) == 3
    run_well(found, "eaton", DAY, now=later)
    assert "[cradle] 2 customers (demo, eaton), 2024-04-01: is well again" in mail.subjects()


def test_alarms_that_belong_together_are_one_message(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail, "demo", "eaton")
    raise_alarms(found, [alarm(one, together="none") for one in ("demo", "eaton")], NOW)
    raise_alarms(found, [alarm(one, together="none") for one in ("demo", "eaton")], NOW)
    assert mail.subjects() == ["[cradle] 2 customers (demo, eaton), 2024-04-01: build failed (a)"]
    nights_well(found, [("demo", DAY), ("eaton", DAY)], now=NOW)
    assert len(mail.mails) == 2


def test_rejects_are_told_above_the_limit_and_when_they_are_within_again(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    assert rejects_above_limit(found, "demo", DAY, 10**6, **RUN) is None
    path = found.customers / "demo.yaml"
    path.write_text(path.read_text() + "  max_rejects: 5\n")
    told(found, "demo", email=["nights@example.com"])
    for rejects in (5, 6, 7, 5, 5):
        rejects_above_limit(found, "demo", DAY, rejects, **RUN, now=NOW)
    assert mail.subjects() == [
        "[cradle] demo, 2024-04-01: 6 rejects, 5 are allowed",
        "[cradle] demo, 2024-04-01: is well again",
    ]


# Channels


def test_a_server_that_wants_tls_and_a_login_gets_both(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    server = MailServer(pem, login=True)
    server.start()
    try:
        found = by_mail(settings, server)
        raise_alarms(found, [alarm()], NOW)
        assert "CERTIFICATE_VERIFY_FAILED" in str(waiting(found)[0].error)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        deliver(found, NOW)
        assert "SMTPSenderRefused" in str(waiting(found)[0].error)
        write_secret(found, FACTORY, ANY, "smtp", {"user": USER, "password": PASSWORD})
        assert deliver(found, NOW) == 1
        assert (server.logins, len(server.mails)) == (1, 1)
    finally:
        server.stop()


def test_a_password_never_goes_to_a_server_without_tls(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    write_secret(found, FACTORY, ANY, "smtp", {"user": USER, "password": PASSWORD})
    assert raise_alarms(found, [alarm()], NOW).waiting == 1
    assert "offers no TLS" in str(waiting(found)[0].error)
    assert (mail.logins, mail.mails) == (0, [])


@pytest.mark.parametrize("answer", [500, 404, "hang", "close", "redirect"])
def test_a_webhook_that_misbehaves_fails_nothing_and_gets_its_message_later(
    settings: Settings, hook: Receiver, answer: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cradle.alerts.channels.SECONDS", 0.3)
    by_hook(settings, hook)
    hook.answer = answer
    assert raise_alarms(settings, [alarm()], NOW).waiting == 1
    (letter,) = waiting(settings)
    assert "secret-path" not in letter.model_dump_json()
    assert letter.error is not None
    assert letter.error.startswith("webhook demo/webhook did not take the message")
    assert hook.paths == ["/services/T00/B00/very-secret-path"]  # once, and nowhere else
    hook.answer = 200
    raise_alarms(settings, [], NOW)
    (post,) = hook.posts
    assert post["text"].startswith("*[cradle] demo, 2024-04-01: build failed (a)*\nIt failed.")


def test_one_channel_that_is_down_does_not_hold_up_the_other(
    settings: Settings, mail: MailServer, hook: Receiver
) -> None:
    told(settings, "demo", email=["refused@example.com", "nights@example.com"], webhook="chat")
    write_secret(settings, FACTORY, ANY, "webhook_chat", {"url": hook.url})
    found = settings.model_copy(update={"smtp": mail.url})
    answer = raise_alarms(found, [alarm()], NOW)
    assert (answer.messages, answer.sent, answer.waiting) == (3, 2, 1)
    assert (len(mail.mails), len(hook.posts)) == (1, 1)
    raise_alarms(found, [], NOW + GIVE_UP)
    assert not waiting(found)


def test_without_any_channel_the_cause_is_kept_and_nothing_fails(settings: Settings) -> None:
    assert raise_alarms(settings, [alarm()], NOW).messages == 0
    assert [cause.what for _, cause in open_causes(settings)] == ["build failed (a)"]


def test_a_broken_file_tells_its_own_people_or_else_the_factorys(settings: Settings) -> None:
    found = settings.model_copy(update={"alert_email": "a@example.com, b@example.com"})
    assert [one.to for one in targets(found, "demo")] == ["a@example.com", "b@example.com"]
    told(found, "demo", email=["own@example.com"])
    path = found.customers / "demo.yaml"
    path.write_text(path.read_text() + "wrong: field\n")
    assert [one.to for one in targets(found, "demo")] == ["own@example.com"]
    path.write_text("operation: [")
    assert [one.to for one in targets(found, "demo")] == ["a@example.com", "b@example.com"]


# Properties

CAUSES = [alarm(customer, cause) for customer in ("demo", "eaton") for cause in "ab"]
SHARED = [alarm(customer, "c", server="store:8333") for customer in ("demo", "eaton")]


def raise_some(found: dict[str, object], which: list[int]) -> None:
    """Raise alarms one by one, in whatever process this is."""
    for one in which:
        raise_alarms(Settings.model_validate(found), [(CAUSES + SHARED)[one]], NOW)


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """Three processes."""
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        yield pool


@given(work=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=2, max_size=3))
@examples(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_n_failures_of_k_causes_are_k_messages(
    settings: Settings, mail: MailServer, workers: ProcessPoolExecutor, work: list[list[int]]
) -> None:
    with TemporaryDirectory() as home:
        found = by_mail(settings, mail, "demo", "eaton").model_copy(update={"home": Path(home)})
        mail.mails.clear()
        list(workers.map(raise_some, [found.model_dump(mode="json")] * len(work), work))
        deliver(found, NOW)  # what one process left to another that had just looked
        causes = {(CAUSES + SHARED)[one].key for which in work for one in which}
        assert len(mail.mails) == len(causes)
        assert sum(cause.count for _, cause in open_causes(found)) == sum(map(len, work))


def test_a_process_that_dies_after_writing_the_message_loses_and_doubles_none(
    settings: Settings, mail: MailServer
) -> None:
    found = by_mail(settings, mail)

    def die(name: str) -> None:
        raise KeyboardInterrupt(name)

    LISTENERS.append(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            raise_alarms(found, [alarm()], NOW)
    finally:
        LISTENERS.remove(die)
    deliver(found, NOW)
    raise_alarms(found, [alarm()], NOW)
    assert len(mail.mails) == 1


@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30))
@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_in_any_message(settings: Settings, mail: MailServer, secret: str) -> None:
    found = by_mail(settings, mail)
    mail.mails.clear()
    write_secret(found, "demo", ANY, "pipeline", {"client_secret": secret})
    text = f"login with {secret} failed at postgresql://cradle:hunter22@db:5432/x, Authorization: Bearer abcdefgh12"
    one = Alarm("failed", "demo", "dev_analytics", DAY, f"what {secret}", text, secret, log=json.dumps({"event": text}))
    raise_alarms(found, [one], NOW)
    (mail_,) = mail.mails
    told_ = [str(mail_["Subject"]), *(part.get_content() for part in mail_.iter_parts())]
    kept = [path.read_text() for path in found.alerts().rglob("*.json")]
    for shown in told_:
        assert secret not in shown
        assert "hunter22" not in shown
        assert "abcdefgh12" not in shown
    assert not [one for one in kept if "hunter22" in one]


@given(number=st.integers(0, 10**9), digest=st.binary(min_size=8, max_size=32))
def test_ids_and_numbers_do_not_make_another_cause(number: int, digest: bytes) -> None:
    assert normalised(f"{number} rows of {digest.hex()} at  1") == normalised("5 rows of 00112233aabb at 2")


@pytest.mark.parametrize("sign", ["\n", "\r\nBcc: all@example.com\r\n", "\0", "‮"])
def test_a_subject_is_one_line_of_plain_characters(settings: Settings, mail: MailServer, sign: str) -> None:
    found = by_mail(settings, mail)
    raise_alarms(found, [Alarm("failed", "demo", "dev_analytics", DAY, f"a{sign}b", "text")], NOW)
    (mail_,) = mail.mails
    assert "Bcc" not in mail_
    assert str(mail_["Subject"]).isprintable()


def test_a_page_shows_markup_of_an_error_as_text(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    raise_alarms(found, [Alarm("failed", "demo", "dev_analytics", DAY, "x", "<script>alert(1)</script>")], NOW)
    page = mail.mails[0].get_body(("html",))
    assert page is not None
    assert "<script>" not in page.get_content()


def test_a_link_is_made_where_an_address_is_set(settings: Settings) -> None:
    assert run_link(settings, "night_demo", "manual") == ""
    assert server_of(settings, 'connection to server at "db" (10.0.0.1), port 5432 failed') == "db:5432"
    assert server_of(settings, "a lock is held") == ""
    assert issubclass(Unavailable, CradleError)


@pytest.mark.usefixtures("in_airflow")
def test_the_log_of_the_part_that_failed_is_found_where_airflow_writes_it(settings: Settings, mail: MailServer) -> None:
    found = by_mail(settings, mail)
    for part, text in enumerate(("all is well", '{"level": "error", "event": "BuildFailed: no keys"}', "all is well")):
        folder = found.airflow() / "logs" / f"dag_id={RUN['dag_id']}" / f"run_id={RUN['run_id']}" / "task_id=step"
        path = folder / f"map_index={part}" / "attempt=1.log"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    fail(found, "build", BuildFailed("no keys"))
    run_failed(found, "demo", DAY, **RUN)
    body = mail.mails[0].get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines()[-3:] == ["The log's last words:", "", "  error BuildFailed: no keys"]


def test_workers_are_handed_the_secrets_of_alerts_and_analysts_none(settings: Settings, tmp_path: Path) -> None:
    for owner, name in ((FACTORY, "smtp"), (FACTORY, "webhook"), ("demo", "webhook_chat"), ("demo", "inbox")):
        write_secret(settings, owner, ANY, name, {"url": "https://example.com"})
    assert hand_out(settings, "analyst", tmp_path / "analyst") == []
    handed = hand_out(settings, "pipeline", tmp_path / "pipeline")
    assert handed == ["_factory/any/smtp", "_factory/any/webhook", "demo/any/webhook_chat"]
    secret_path(settings, "demo", ANY, "webhook_chat").unlink()
    hand_out(settings, "pipeline", tmp_path / "pipeline")
    kept = list((tmp_path / "pipeline").rglob("*.json"))
    assert {path.stem for path in kept} == {"smtp", "webhook"}
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
