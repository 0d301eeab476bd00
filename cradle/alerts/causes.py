"""What was told already: one small file per cause, so that each is told once, by whichever process sees it first.

Flow: alarm → lock → `<home>/alerts/<customer>/<key>.json` says whom to tell → message in the outbox → file written
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from cradle import names
from cradle.alerts.alarm import Alarm, Kind
from cradle.alerts.targets import Target
from cradle.config import Settings
from cradle.files import write_whole

WINDOW = timedelta(hours=12)  # in which a cause is told once


class Telling(BaseModel):
    """When somebody was told last, and how often so far."""

    at: datetime
    times: int


class Cause(BaseModel):
    """One cause: since when, how often, which nights it hit (and which are well again), who was told."""

    key: str
    kind: Kind
    environment: str
    what: str
    server: str
    episode: int
    first_at: datetime
    last_at: datetime
    count: int = 0
    nights: dict[str, bool] = {}
    told: dict[str, Telling] = {}
    well_at: datetime | None = None

    @classmethod
    def of(cls, settings: Settings, alarm: Alarm, now: datetime) -> Self:
        """Read the cause of an alarm; a new episode begins when it is over, or has been silent for a window."""
        path = _path(settings, alarm)
        known = cls.model_validate_json(path.read_bytes()) if path.is_file() else None
        if known and known.well_at is None and now - known.last_at < WINDOW:
            return known
        return cls(
            key=alarm.key,
            kind=alarm.kind,
            environment=alarm.environment,
            what=alarm.what,
            server=alarm.server,
            episode=known.episode + 1 if known else 1,
            first_at=now,
            last_at=now,
        )

    def seen(self, alarm: Alarm, now: datetime) -> None:
        """Count one more alarm of this cause."""
        self.count += 1
        self.last_at = max(now, self.last_at)
        self.nights[alarm.night] = False

    def due(self, target: Target, now: datetime) -> bool:
        """Tell whether somebody has not been told of this cause within the window."""
        telling = self.told.get(str(target))
        return telling is None or now - telling.at >= WINDOW

    def tell(self, target: Target, now: datetime) -> None:
        """Note that somebody is told now."""
        known = self.told.get(str(target))
        self.told[str(target)] = Telling(at=now, times=known.times + 1 if known else 1)

    def telling_id(self, target: Target) -> str:
        """Name the telling that is next: the same again after a process that died on the way."""
        known = self.told.get(str(target))
        return f"{self.key}-{self.episode}-{known.times if known else 0}"

    @property
    def customers(self) -> list[str]:
        """The customers that were hit."""
        return sorted({one.partition("/")[0] for one in self.nights})

    @property
    def shown_nights(self) -> str:
        """The nights as people read them."""
        parts = [one.split("/") for one in sorted(self.nights)]
        return "; ".join(f"{customer}, {day}" for customer, _, day in parts)


@contextlib.contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the one lock of all causes; held for as long as a few small files take."""
    settings.alerts().mkdir(parents=True, exist_ok=True)
    with (settings.alerts() / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def save(path: Path, content: BaseModel) -> None:
    """Write a small file whole or not at all."""
    write_whole(path, content.model_dump_json())


def save_cause(settings: Settings, alarm: Alarm, cause: Cause) -> None:
    """Keep what was told."""
    save(_path(settings, alarm), cause)


def open_causes(settings: Settings, owner: str | None = None) -> list[tuple[Path, Cause]]:
    """Return the causes of one customer or of the fleet that are not over, oldest first; None: all."""
    folders = (
        [settings.alerts() / owner] if owner else [*settings.alerts().glob("[a-z]*"), settings.alerts() / names.FLEET]
    )
    found = [(path, Cause.model_validate_json(path.read_bytes())) for one in folders for path in one.glob("*.json")]
    return sorted((one for one in found if one[1].well_at is None), key=lambda one: one[1].first_at)


def _path(settings: Settings, alarm: Alarm) -> Path:
    return settings.alerts() / (names.FLEET if alarm.server else alarm.customer) / f"{alarm.key}.json"
