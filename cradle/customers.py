"""A customer's YAML: the block `installation`, which is hashed, and the block `operation`, which may change freely.

Flow: data/customers/<customer>.yaml → Customer
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cradle import names
from cradle.errors import ConfigError, UnknownCustomer
from cradle.installation import Installation, installation_hash, short

# libyaml's loader is eight times as fast, which counts where Airflow parses two hundred files.
Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")


class Alerts(_Model):
    """Who is told when a night is not well; nobody named: whom the factory names (CRADLE_ALERT_EMAIL)."""

    email: tuple[str, ...] = Field(default=(), description="Addresses; each gets its own e-mail.")
    webhook: bool | str = Field(
        default=False, description="true: the secret `webhook`; a name: the secret `webhook_<name>`."
    )

    @field_validator("email")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not _ADDRESS.fullmatch(one):
                raise ValueError(f"{one!r} is not an e-mail address; write it as nights@example.com")
        return value

    @field_validator("webhook")
    @classmethod
    def _named(cls, value: bool | str) -> bool | str:
        if isinstance(value, str) and not names.is_name(value):
            raise ValueError(
                f"{value!r} is not the name of a webhook: use true, or a name of a-z, 0-9 and _ ; its address is a "
                f"secret and belongs into a secret file, see docs/alerts.md"
            )
        return value


class Fresh(_Model):
    """How old the newest delivery of a role may be."""

    warn_days: int = Field(default=2, ge=1, description="Days after which `cradle freshness` warns.")
    error_days: int = Field(default=7, ge=1, description="Days after which it calls the role overdue.")


class Operation(_Model):
    """How the nights are run; changed at will, not hashed."""

    title: str = ""
    owner: str = "data-team"
    description: str = ""
    schedule: str = "0 2 * * *"
    timezone: str = "UTC"
    port_base: int = Field(
        default=9390, ge=1024, le=65_500, description="9300 + 10 x n; API at + 2, dashboards at + 3."
    )
    age_recipient: str | None = Field(default=None, description="The customer's age public key: age1….")
    retention_days: int = Field(default=30, ge=1)
    tier: Literal["gold", "silver", "bronze"] = Field(
        default="silver", description="Whose tasks come first when slots are scarce: gold, silver, bronze."
    )
    dbt_tasks: Literal["layer", "model"] = Field(
        default="layer", description="What one task of the night builds: a layer, or a single dbt model (Cosmos)."
    )
    publish: bool = Field(default=False, description="Publish the verified image at the end of each night.")
    alerts: Alerts = Field(default=Alerts(), description="Who is told: email, webhook; a bare list is addresses.")
    services: tuple[str, ...] = Field(default=(), description="MCP services switched on.")
    fresh: Fresh = Fresh()
    max_rejects: int | None = Field(default=None, ge=0, description="More rejects than this in a night: an alert.")
    late_hours: float | None = Field(
        default=4, gt=0, description="A night that goes on for longer than these hours: an alert; null: never."
    )
    image_by: time | None = Field(
        default=None, description="Local time by which the night's verified image must exist; none: no alarm."
    )

    @field_validator("alerts", mode="before")
    @classmethod
    def _bare_addresses(cls, value: Any) -> Any:
        return {"email": value} if isinstance(value, list | tuple) else value

    @field_validator("image_by", mode="before")
    @classmethod
    def _clock(cls, value: Any) -> Any:
        if value is None or isinstance(value, time):
            return value
        if not isinstance(value, str) or not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value):
            raise ValueError(f'{value!r} is not a time of day; write it in quotes, as "06:00"')
        return time.fromisoformat(value.zfill(5))

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone; use a name such as Europe/Berlin or UTC") from error

    @property
    def zone(self) -> ZoneInfo:
        """The customer's time zone."""
        return ZoneInfo(self.timezone)


class Customer(_Model):
    """One customer, as its YAML says."""

    customer: str
    installation: Installation
    operation: Operation = Operation()

    @field_validator("customer")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not names.is_name(value):
            raise ValueError(f"customer {value!r} is not a name: use a-z, 0-9 and _ (begin with a letter)")
        return value

    @property
    def params_hash(self) -> str:
        """SHA-256 (hex) of the installation block in canonical JSON."""
        return installation_hash(self.installation)


def customer_names(folder: Path) -> list[str]:
    """Return the names of all customers' files, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_customer(folder: Path, customer: str) -> Customer:
    """Read and check one customer's YAML.

    Raises:
        UnknownCustomer: there is no such file.
        ConfigError: the YAML can't be parsed, or a field is unknown, missing or wrong.
    """
    path = folder / f"{customer}.yaml"
    if not names.is_name(customer) or not path.is_file():
        known = ", ".join(customer_names(folder)) or "none yet"
        raise UnknownCustomer(
            f"customer {customer!r} is unknown. Known: {known}. Check the spelling, or make one with "
            f"`cradle customers add <name> --from <folder>`."
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path.name} is not valid YAML: {error}. Correct it and run `cradle doctor {customer}`."
        ) from error
    loaded = parse_customer(content, path.name)
    if loaded.customer != customer:
        raise ConfigError(f"{path.name} says customer: {loaded.customer}. File name and customer must be equal.")
    return loaded


def parse_customer(content: Any, name: str) -> Customer:
    """Check what a YAML file said.

    Raises:
        ConfigError: names each wrong field with its place and value.
    """
    try:
        return Customer.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc']))}: {item['msg']} (value: {short(item['input'])})"
            for item in error.errors()
        ]
        raise ConfigError(
            f"{name} is not a valid customer file:\n" + "\n".join(lines) + "\nSee docs/customers.md."
        ) from error


def logical_date(customer: Customer, instant: Any) -> date:
    """Return the customer's local date of an aware datetime."""
    local: date = instant.astimezone(customer.operation.zone).date()
    return local


def night_date(customer: Customer, wanted: datetime | None, now: datetime) -> date:
    """Return a run's logical date: the local date of `wanted`, else that on which the interval around `now` began."""
    if wanted is not None:
        return logical_date(customer, wanted)
    from croniter import croniter

    after = now.astimezone(customer.operation.zone) + timedelta(seconds=1)  # an interval holds its own first moment
    start: datetime = croniter(customer.operation.schedule, after).get_prev(datetime)
    return start.date()


def interval_of(customer: Customer, day: date) -> tuple[datetime, datetime]:
    """Return the first data interval that begins on a local day; without one, the day itself."""
    from croniter import croniter

    zone = customer.operation.zone
    midnight = datetime.combine(day, datetime.min.time(), zone)
    fires = croniter(customer.operation.schedule, midnight - timedelta(seconds=1))
    start, end = fires.get_next(datetime), fires.get_next(datetime)
    return (start, end) if start.date() == day else (midnight, midnight + timedelta(days=1))
