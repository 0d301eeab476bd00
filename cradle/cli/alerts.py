"""Commands about alerts: what was told and what waits, and a test of the channels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from cradle.cli.output import AsJson, CustomerName, emit, table
from cradle.cli.verbs import ready
from cradle.errors import ConfigError, CradleError

app = typer.Typer(help="List alerts, and test their channels.", no_args_is_help=True)


@app.command("list")
def list_alerts(as_json: AsJson = False) -> None:
    """List causes that are not over, and messages that wait; sends those. Example: cradle alerts list"""
    from cradle.alerts.causes import open_causes
    from cradle.alerts.outbox import deliver, waiting

    found = ready()
    deliver(found, datetime.now(UTC))
    causes = [cause for _, cause in open_causes(found)]
    letters = waiting(found)
    if as_json:
        content = {
            "causes": [cause.model_dump(mode="json") for cause in causes],
            "waiting": [letter.model_dump(mode="json", exclude={"message": {"html"}}) for letter in letters],
        }
        emit(content, True, "", [])
        return
    rows = [
        [
            one.shown_nights,
            one.kind,
            one.what,
            one.count,
            f"{one.last_at:%Y-%m-%d %H:%M}",
            ", ".join(one.told) or "nobody",
        ]
        for one in causes
    ]
    table("not over", ["night", "what", "times", "last (UTC)", "told"], rows)
    waits = [[one.to, one.message.subject if one.message else "", one.tries, one.error] for one in letters]
    table("waiting", ["to", "message", "tries", "error"], waits)


@app.command("test")
def send_test(customer: CustomerName, as_json: AsJson = False) -> None:
    """Send a test message over each channel of a customer, and say what happened. Example: cradle alerts test demo"""
    from cradle.alerts.targets import targets
    from cradle.customers import load_customer

    found = ready()
    load_customer(found.customers, customer)
    wanted = targets(found, customer)
    if not wanted:
        raise ConfigError(
            f"nobody is told about {customer}: name e-mail addresses or a webhook in operation.alerts of "
            f"{customer}.yaml, or set CRADLE_ALERT_EMAIL. See docs/alerts.md."
        )
    told = [_sent(found, customer, target) for target in wanted]
    emit(told, as_json, f"{customer}: test", [(str(one["to"]), one["error"] or "sent") for one in told])
    if any(one["error"] for one in told):
        raise typer.Exit(9)


def _sent(found: Any, customer: str, target: Any) -> dict[str, str | None]:
    from cradle.alerts.channels import send
    from cradle.alerts.message import tell_test

    try:
        send(found, target, tell_test(found, customer), f"test-{datetime.now(UTC):%Y%m%d%H%M%S%f}")
    except CradleError as error:
        return {"to": str(target), "error": str(error)}
    return {"to": str(target), "error": None}
