"""Words for alarms and recoveries: a subject, a plain text and a page.

Flow: alarms with their causes → jinja2 templates → message without secrets
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cradle.alerts.alarm import Alarm
from cradle.alerts.causes import Cause
from cradle.alerts.channels import Message
from cradle.alerts.redact import Redactor, last_words
from cradle.config import Settings

SUBJECT = 150  # characters


@dataclass(frozen=True)
class Entry:
    """One alarm with what is known of its cause."""

    alarm: Alarm
    cause: Cause


def tell_alarms(settings: Settings, entries: list[Entry]) -> Message:
    """Put one or more alarms into one message."""
    customers = sorted({name for one in entries for name in (one.alarm.customer, *one.cause.customers)})
    clean = Redactor(settings, customers)
    shown = [
        Entry(
            replace(
                one.alarm,
                what=clean(one.alarm.what),
                text=clean(one.alarm.text),
                log=clean(last_words(one.alarm.log)),
            ),
            one.cause,
        )
        for one in entries
    ]
    days = {one.alarm.logical_date for one in shown}
    what = ", ".join(dict.fromkeys(one.alarm.what for one in shown))
    return _message("alert", _subject(customers, days, what), {"entries": shown})


def tell_recovery(settings: Settings, causes: list[Cause]) -> Message:
    """Put what is over into one message."""
    nights = sorted({one for cause in causes for one in cause.nights})
    customers = sorted({one.partition("/")[0] for one in nights})
    days = {None if one.endswith("undated") else date.fromisoformat(one.rpartition("/")[2]) for one in nights}
    clean = Redactor(settings, customers)
    shown = [one.model_copy(update={"what": clean(one.what)}) for one in causes]
    return _message("well", _subject(customers, days, "is well again"), {"causes": shown})


def tell_test(settings: Settings, customer: str) -> Message:
    """Say that this is a test."""
    text = f"A test of the alerts of {customer}, sent by `cradle alerts test {customer}`. Nothing has happened."
    page = f"<!doctype html><html lang='en'><head><title>test</title></head><body><p>{text}</p></body></html>"
    subject = _subject([customer], {None}, f"test of the alerts in {settings.environment}")
    return Message(subject=subject, text=text, html=page)


def _subject(customers: list[str], days: set[date | None], what: str) -> str:
    """Say customer, date and what failed; control characters would end a header."""
    who = customers[0] if len(customers) == 1 else f"{len(customers)} customers ({', '.join(customers)})"
    (day,) = days if len(days) == 1 else (None,)
    plain = " ".join(f"[cradle] {who}{f', {day}' if day else ''}: {what}".split())
    plain = "".join(sign for sign in plain if sign.isprintable())
    return plain if len(plain) <= SUBJECT else f"{plain[:SUBJECT]} …"


def _message(template: str, subject: str, content: dict[str, Any]) -> Message:
    pages = Environment(
        loader=PackageLoader("cradle.alerts"),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    text, page = (pages.get_template(f"{template}.{form}") for form in ("txt", "html"))
    return Message(
        subject=subject,
        text=text.render(subject=subject, **content).strip() + "\n",
        html=page.render(subject=subject, **content),
    )
