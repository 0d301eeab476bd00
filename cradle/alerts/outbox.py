"""Messages that wait until their channel has taken them; a channel that is down costs a night nothing.

Flow: message → `<home>/alerts/_outbox/<id>.json` → sent → `<home>/alerts/_sent/<id>.json`, without its text
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel

from cradle.alerts.causes import save
from cradle.alerts.channels import Message, send
from cradle.alerts.targets import Target
from cradle.config import Settings
from cradle.errors import CradleError
from cradle.log import get

GIVE_UP = timedelta(days=3)  # a message that is older says nothing new
KEPT = timedelta(days=30)  # that a sent message's name is remembered

log = get("alerts")


class Letter(BaseModel):
    """One message to one target."""

    id: str
    to: str
    message: Message | None
    created_at: datetime
    tries: int = 0
    error: str | None = None
    ended_at: datetime | None = None

    @property
    def target(self) -> Target:
        """Where it goes."""
        return Target.of(self.to)


def put(settings: Settings, target: Target, message: Message, tellings: list[str], now: datetime) -> None:
    """Put a message into the outbox; the same tellings to the same target are the same message."""
    name = hashlib.sha256("\n".join([str(target), *sorted(tellings)]).encode()).hexdigest()[:24]
    if not (_sent(settings) / f"{name}.json").exists():
        letter = Letter(id=name, to=str(target), message=message, created_at=now)
        save(_outbox(settings) / f"{name}.json", letter)


def waiting(settings: Settings) -> list[Letter]:
    """Return what waits, oldest first."""
    found = [letter for path in _outbox(settings).glob("*.json") if (letter := _read(path))]
    return sorted(found, key=lambda one: (one.created_at, one.id))


def deliver(settings: Settings, now: datetime) -> int:
    """Send what waits, oldest first; a target that fails is left alone until the next call. Return how many went."""
    sent, down = 0, set()
    for letter in waiting(settings):
        if letter.target in down:
            continue
        with _mine(_outbox(settings) / f"{letter.id}.json") as path:
            if path is None:  # another process sends it
                continue
            error = _try(settings, letter)
            if error is None or now - letter.created_at >= GIVE_UP:
                ended = letter.model_copy(update={"message": None, "error": error, "ended_at": now})
                save(_sent(settings) / path.name, ended)
                path.unlink()
                sent += error is None
            else:
                save(path, letter.model_copy(update={"tries": letter.tries + 1, "error": error}))
                down.add(letter.target)
    _forget(settings, now)
    return sent


def _try(settings: Settings, letter: Letter) -> str | None:
    assert letter.message is not None
    try:
        send(settings, letter.target, letter.message, letter.id)
    except (CradleError, OSError, ValueError) as error:
        log.error(f"alert not sent: {error}", target=str(letter.target), subject=letter.message.subject)
        return str(error)
    return None


@contextmanager
def _mine(path: Path) -> Iterator[Path | None]:
    """Lock a letter; None when another process has it, or has sent it meanwhile."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # A letter that failed was written anew: only who holds the file that lies there now may send it.
        yield path if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()) else None


def _forget(settings: Settings, now: datetime) -> None:
    for path in _sent(settings).glob("*.json"):
        if now.timestamp() - path.stat().st_mtime > KEPT.total_seconds():
            path.unlink(missing_ok=True)


def _read(path: Path) -> Letter | None:
    try:
        return Letter.model_validate_json(path.read_bytes())
    except FileNotFoundError:  # sent meanwhile
        return None


def _outbox(settings: Settings) -> Path:
    return settings.alerts() / "_outbox"


def _sent(settings: Settings) -> Path:
    return settings.alerts() / "_sent"
