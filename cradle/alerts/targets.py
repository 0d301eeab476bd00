"""Who is told: the addresses and webhooks of a customer's YAML, else those of the factory.

Flow: operation.alerts, or CRADLE_ALERT_EMAIL and the factory's webhook → targets; secrets are read when one is used
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

import yaml
from pydantic import ValidationError

from cradle.config import Settings
from cradle.customers import Alerts, load_customer
from cradle.errors import ConfigError
from cradle.secrets import ANY, FACTORY, has_secret, read_secret, secret_path

WEBHOOK = "webhook"
SMTP = "smtp"


class Target(NamedTuple):
    """One address, or one webhook by the owner and the name of its secret."""

    channel: Literal["email", "webhook"]
    to: str

    def __str__(self) -> str:
        return f"{self.channel} {self.to}"

    @classmethod
    def of(cls, label: str) -> Self:
        """Read what `str` wrote."""
        channel, _, to = label.partition(" ")
        return cls("email" if channel == "email" else "webhook", to)


def targets(settings: Settings, customer: str) -> list[Target]:
    """Return who is told about a customer; a broken file is no reason to tell nobody."""
    try:
        wanted = load_customer(settings.customers, customer).operation.alerts
    except ConfigError:
        wanted = _salvaged(settings, customer)
    found = [Target("email", address) for address in wanted.email]
    if wanted.webhook:
        name = WEBHOOK if wanted.webhook is True else f"{WEBHOOK}_{wanted.webhook}"
        owner = customer if has_secret(settings, customer, ANY, name) else FACTORY
        found.append(Target("webhook", f"{owner}/{name}"))
    return list(dict.fromkeys(found)) or _of_the_factory(settings)


def _of_the_factory(settings: Settings) -> list[Target]:
    addresses = [one.strip() for one in (settings.alert_email or "").split(",") if one.strip()]
    found = [Target("email", address) for address in dict.fromkeys(addresses)]
    if has_secret(settings, FACTORY, ANY, WEBHOOK):
        found.append(Target("webhook", f"{FACTORY}/{WEBHOOK}"))
    return found


def _salvaged(settings: Settings, customer: str) -> Alerts:
    """Read who is told from a file of which other parts are wrong."""
    try:
        content = yaml.safe_load((settings.customers / f"{customer}.yaml").read_text(encoding="utf-8"))
        given = content["operation"]["alerts"]
        return Alerts.model_validate({"email": given} if isinstance(given, list) else given)
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError, ValidationError):
        return Alerts()


def webhook_url(settings: Settings, target: Target) -> str:
    """Read a webhook's address, which is a secret.

    Raises:
        ConfigError: the secret isn't there, or has no field `url`.
    """
    owner, _, name = target.to.partition("/")
    return _field(settings, owner, name, "url")


def smtp_login(settings: Settings) -> tuple[str, str] | None:
    """Read the mail server's user and password; None: it asks for none.

    Raises:
        ConfigError: the secret has no `user` or no `password`, or others may read it.
    """
    if not has_secret(settings, FACTORY, ANY, SMTP):
        return None
    return _field(settings, FACTORY, SMTP, "user"), _field(settings, FACTORY, SMTP, "password")


def _field(settings: Settings, owner: str, name: str, field: str) -> str:
    path = secret_path(settings, owner, ANY, name)
    if not path.is_file():
        raise ConfigError(f'there is no secret {path}. Write {{"{field}": "…"}} to it, mode 0600. See docs/alerts.md.')
    try:
        content = read_secret(settings, owner, ANY, name)
    except ValueError as error:  # its text would show a part of the secret
        raise ConfigError(f"{path} is not JSON. Write it anew. See docs/alerts.md.") from error
    if not isinstance(content, dict) or not content.get(field):
        raise ConfigError(f"{path} has no field {field!r}. Write it anew. See docs/alerts.md.")
    return str(content[field])
