"""API keys: made, kept as hashes in the state folder, found again. Only their hashes are ever written.

A key is 32 random bytes, so one SHA-256 is enough: a slow hash protects what people choose, and nobody can guess this.
Made without a server too:  key, record = new_key("admin");  write_keys(state, [record])
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cradle.errors import Unavailable

FILE: Final = "keys.json"
LOCK: Final = ".keys.lock"
PREFIX: Final = "cradle"
FORM: Final = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
Role = Literal["reader", "admin"]


class Record(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    role: Role
    name: str = ""
    sha256: str
    created_at: str
    revoked_at: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    keys: list[Record]


def new_key(role: Role, name: str = "") -> tuple[str, Record]:
    """Return a new key and what is to be kept of it."""
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = Record(id=identity, role=role, name=name, sha256=_hash(secret), created_at=now())
    return f"{PREFIX}_{identity}_{secret}", record


def now() -> str:
    """Return the time as it stands in records."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def read_keys(state: Path) -> list[Record]:
    """Return the records of a state folder; none when there is no file yet.

    Raises:
        Unavailable: the file can't be read.
    """
    path = state / FILE
    try:
        return _File.model_validate_json(path.read_bytes()).keys
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"the keys can't be read: {path}: {error.strerror}.") from error
    except ValidationError as error:
        raise Unavailable(
            f"{path} is damaged: {error.errors()[0]['msg']}. Restore it; until then no key works."
        ) from error


def write_keys(state: Path, records: Sequence[Record]) -> None:
    """Keep records, all of them or none; only this user may read the file.

    Raises:
        Unavailable: the folder can't be written.
    """
    body = _File(keys=list(records)).model_dump_json(indent=1).encode() + b"\n"
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        put(state / FILE, body)
    except OSError as error:
        raise Unavailable(_not_written(state, error)) from error


def put(path: Path, body: bytes) -> None:
    """Write a file that is there whole or not at all, also after a loss of power."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(body)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _not_written(state: Path, error: OSError) -> str:
    told = f"keys can't be written: {state / FILE}: {error.strerror}."
    return f"{told} Mount a volume there that may be written and has room. Keys that exist go on working."


class Keys:
    """The keys of a running service; a file that was changed is read again."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._guard = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._records: dict[str, Record] = {}
        self.all()

    def all(self) -> list[Record]:
        """Return all records, those that were revoked too.

        Raises:
            Unavailable: they can't be read.
        """
        with self._guard:
            found = _version(self.state / FILE)
            if found is None or found != self._seen:
                self._records = {record.id: record for record in read_keys(self.state)}
                self._seen = found
            return list(self._records.values())

    def live(self, identity: str) -> Record | None:
        """Return a key's record unless it was revoked."""
        for record in self.all():
            if record.id == identity:
                return None if record.revoked_at else record
        return None

    def of(self, key: str) -> Record | None:
        """Return the record of a key that is valid."""
        form = FORM.fullmatch(key)
        record = self.live(form.group(1)) if form else None
        if form is None or record is None:
            return None
        return record if hmac.compare_digest(_hash(form.group(2)), record.sha256) else None

    def change(self, how: Callable[[list[Record]], list[Record]]) -> None:
        """Replace the records by what a function makes of them; others who change them wait.

        Raises:
            Unavailable: the folder can't be written.
        """
        with _locked(self.state):
            write_keys(self.state, how(read_keys(self.state)))


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    try:
        descriptor = os.open(state / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unavailable(_not_written(state, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def active_admins(records: Sequence[Record]) -> int:
    """Return how many keys may still make keys."""
    return sum(one.role == "admin" and one.revoked_at is None for one in records)
