"""Sends one message over one channel: an e-mail over SMTP, or a POST to a webhook.

Flow: message + target → secret, read now → server; an error never shows the secret
"""

from __future__ import annotations

import contextlib
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from cradle.alerts.targets import Target, smtp_login, webhook_url
from cradle.config import Settings
from cradle.errors import ConfigError, Unavailable

SECONDS = 10.0  # that a server may be silent
WEBHOOK_LONGEST = 3500  # characters; Slack cuts longer texts
LOCAL = ("127.0.0.1", "::1", "localhost")


class Message(BaseModel):
    """What is sent; it holds no secret."""

    model_config = ConfigDict(frozen=True)

    subject: str
    text: str
    html: str


def send(settings: Settings, target: Target, message: Message, message_id: str) -> None:
    """Send one message.

    Args:
        message_id: the same for the same message: whoever gets it twice can tell.

    Raises:
        ConfigError: the channel is not set up.
        Unavailable: the server is away or refuses the message.
    """
    if target.channel == "email":
        _mail(settings, target.to, message, message_id)
    else:
        _post(webhook_url(settings, target), target, message)


def _mail(settings: Settings, address: str, message: Message, message_id: str) -> None:
    if settings.smtp is None:
        raise ConfigError("no mail server: set CRADLE_SMTP to smtp://host:port. See docs/alerts.md.")
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.alert_sender, address, message.subject
    domain = parseaddr(settings.alert_sender)[1].partition("@")[2] or "localhost"
    mail["Date"], mail["Message-ID"] = formatdate(), f"<{message_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    try:
        server = _connect(settings)
        try:
            server.send_message(mail)
        finally:
            with contextlib.suppress(OSError, smtplib.SMTPException):  # accepted is accepted
                server.quit()
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(
            f"{settings.smtp} did not take an e-mail to {address}: {type(error).__name__}: {error}. "
            f"Try it with `cradle alerts test`."
        ) from error


def _connect(settings: Settings) -> smtplib.SMTP:
    parts, context = urlsplit(settings.smtp or ""), ssl.create_default_context()
    host, login = str(parts.hostname), smtp_login(settings)
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server, safe = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SECONDS, context=context), True
    else:
        server, safe = smtplib.SMTP(host, parts.port or 25, timeout=SECONDS), False
    try:
        server.ehlo()
        if not safe and server.has_extn("starttls"):
            server.starttls(context=context)
            safe = True
        if login and not safe:
            raise ConfigError(f"{settings.smtp} offers no TLS, and a password is never sent without. Use smtps://…")
        if login:
            server.login(*login)
    except BaseException:
        server.close()
        raise
    return server


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The address is the secret: wherever it points to, nothing is sent there."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(url: str, target: Target, message: Message) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise ConfigError(f"{target}: the address in the secret must begin with https://. See docs/alerts.md.")
    shown = f"*{message.subject}*\n{message.text}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = json.dumps({"text": shown[:WEBHOOK_LONGEST]}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "cradle"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        seen = f"it answered {error.code}, and 2xx is right"
    except Exception as error:  # noqa: BLE001  (a library's message may hold the address; its type never does)
        cause = getattr(error, "reason", error)
        seen = type(cause).__name__ if not isinstance(cause, OSError) else f"{type(cause).__name__} {cause.strerror}"
    raise Unavailable(f"{target} did not take the message: {seen}. Try it with `cradle alerts test`.") from None


def problem(settings: Settings, target: Target) -> str | None:
    """Tell what is missing to send to a target; None: nothing. No server is asked."""
    try:
        if target.channel == "webhook":
            webhook_url(settings, target)
        elif settings.smtp is None:
            return "CRADLE_SMTP is not set"
        else:
            smtp_login(settings)
    except ConfigError as error:
        return str(error)
    return None
