"""Can people be told, and does somebody watch? For `cradle doctor`; no server is asked.

Flow: settings, customers' files and secrets, what waits, the watchdog's last look → checks
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cradle.alerts.channels import problem
from cradle.alerts.outbox import waiting
from cradle.alerts.targets import targets
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError

HEARTBEAT = "watched_at"  # file that tells when the watchdog looked last
ASLEEP = timedelta(hours=1)  # without a look


def channels_ready(settings: Settings, customers: list[str]) -> str:
    """Say who is told.

    Raises:
        ConfigError: a channel that a customer names can't work, or messages wait that could not be sent.
    """
    wanted = {target for customer in customers for target in targets(settings, customer)}
    for target in sorted(wanted):
        if missing := problem(settings, target):
            raise ConfigError(f"{target}: {missing}. See docs/alerts.md.")
    stuck = [letter for letter in waiting(settings) if letter.error]
    if stuck:
        raise ConfigError(f"{len(stuck)} messages wait; {stuck[0].error} See `cradle alerts list`.")
    return f"{len(wanted)} addresses and webhooks, nothing waits" if wanted else "nobody is told"


def watched(settings: Settings, customers: list[str], now: datetime) -> str:
    """Say when the watchdog looked last; it is needed where a customer has an hour for its image.

    Raises:
        ConfigError: it never looked, or not for an hour.
    """
    hours = [one for one in customers if _has_hour(settings, one)]
    try:
        last = datetime.fromisoformat((settings.alerts() / HEARTBEAT).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not hours:
            return "not needed: no customer has operation.image_by"
        raise ConfigError(f"{', '.join(hours)}: image_by is set, and nobody has looked. See docs/alerts.md.") from error
    if hours and now - last > ASLEEP:
        raise ConfigError(f"it looked last at {last:%F %R} UTC. Start `cradle watch`; see docs/alerts.md.")
    return f"looked last at {last:%F %R} UTC"


def _has_hour(settings: Settings, customer: str) -> bool:
    try:
        return load_customer(settings.customers, customer).operation.image_by is not None
    except ConfigError:
        return False
