"""Short-lived tokens (JWT, HS256) that stand for a key, signed with a secret of the state folder, for one customer."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import uuid
from pathlib import Path
from typing import Final

import jwt

from cradle.access import Keys, Record
from cradle.log import get

log = get("serve")
FILE: Final = "token.secret"
ISSUER: Final = "cradle"
ALGORITHM: Final = "HS256"
LEEWAY: Final = 10  # seconds that clocks may differ
CLAIMS: Final = ["aud", "exp", "iat", "iss", "sub"]


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, state: Path, keys: Keys, customer: str, seconds: int) -> None:
        self._keys, self._customer, self.seconds = keys, customer, seconds
        self._secret = _secret(state)

    def make(self, record: Record) -> str:
        """Return a token that stands for a key until it expires or the key is revoked."""
        begin = int(time.time())
        claims = {"iss": ISSUER, "aud": self._customer, "sub": record.id, "role": record.role}
        return jwt.encode(
            {**claims, "iat": begin, "exp": begin + self.seconds, "jti": uuid.uuid4().hex}, self._secret, ALGORITHM
        )

    def of(self, token: str) -> Record | None:
        """Return the record of the key that a valid token stands for; its role is what the key has now."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=self._customer,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": CLAIMS},
            )
        except (jwt.InvalidTokenError, ValueError):
            return None
        return self._keys.live(str(claims["sub"]))


def _secret(state: Path) -> bytes:
    """Return the secret of the state folder, made once; where it can't be kept, one that ends with this process."""
    path = state / FILE
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make(path)
        found = bytes.fromhex(path.read_text(encoding="ascii").strip())
        if len(found) >= 32:
            return found
        log.error("the secret of tokens is too short; tokens end with this process", path=str(path))
    except (OSError, ValueError) as error:
        log.error(
            "the secret of tokens can't be kept; tokens end with this process", path=str(path), problem=str(error)
        )
    return secrets.token_bytes(32)


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_hex(32) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first, and its secret counts
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
