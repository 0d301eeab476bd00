"""Who may pass: keys and tokens are checked before any route, requests counted, and each one written to the audit."""

from __future__ import annotations

import math
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.requests import Request

from cradle.access import Keys, Record
from cradle.errors import CradleError
from cradle.log import get
from cradle.serve.audit import Audit, safe_query, safe_text
from cradle.serve.bounds import Message, Receive, Scope, Send
from cradle.serve.problems import OPEN, PAGES, STATIC, Refusal, problem, refused
from cradle.serve.tokens import Tokens

log = get("serve")
LONGEST: Final = 4_096  # characters of a key or token
CHALLENGE: Final = 'Bearer realm="cradle"'
NO_KEY: Final = "this needs a key: send it as `Authorization: Bearer <key or token>` or as `X-API-Key: <key>`."
BAD_KEY: Final = "the key or token is not valid: wrong, expired or revoked. Ask an administrator of this image for one."


@dataclass(frozen=True)
class Identity:
    """Who asks, and by what."""

    record: Record
    by: Literal["key", "token"]


class Guard:
    """Lets those requests pass that bring a valid key, within its rate."""

    def __init__(self, app: Any, keys: Keys, tokens: Tokens, audit: Audit, rate: str, release: str) -> None:
        self._app, self._keys, self._tokens, self._audit, self._release = app, keys, tokens, audit, release
        self._rate, self._limiter = parse(rate), MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in (*OPEN, *PAGES) or scope["path"].startswith(f"{STATIC}/"):
            await self._app(scope, receive, send)
            return
        begin, state = time.monotonic(), scope.setdefault("state", {})
        status = 500  # unless an answer begins

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                state["identity"] = self._identify(Headers(scope=scope))
                self._count(state["identity"].record)
            except Refusal as found:
                await refused(found)(scope, receive, noted)
            except CradleError as error:
                log.error("keys can't be checked", problem=str(error))
                told = "keys can't be checked now; the service's log says why."
                await problem(503, told)(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        finally:
            self._audit.write(self._record(scope, state, status, time.monotonic() - begin))

    def _identify(self, headers: Headers) -> Identity:
        given = _credential(headers)
        if given is None:
            raise Refusal(401, NO_KEY, headers={"WWW-Authenticate": CHALLENGE})
        record = self._keys.of(given)
        if record is not None:
            return Identity(record, "key")
        record = self._tokens.of(given) if given.count(".") == 2 else None
        if record is None:
            raise Refusal(401, BAD_KEY, headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'})
        return Identity(record, "token")

    def _count(self, record: Record) -> None:
        if not self._limiter.hit(self._rate, record.id):
            reset = self._limiter.get_window_stats(self._rate, record.id).reset_time
            wait = max(1, math.ceil(reset - time.time()))
            told = f"more than {self._rate} with this key. Wait {wait} s."
            raise Refusal(429, told, headers={"Retry-After": str(wait)})

    def _record(self, scope: Scope, state: MutableMapping[str, Any], status: int, seconds: float) -> dict[str, Any]:
        identity: Identity | None = state.get("identity")
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "key": identity.record.id if identity else None,
            "role": identity.record.role if identity else None,
            "method": scope["method"],
            "path": safe_text(scope["path"]),
            "query": safe_query(scope["query_string"].decode("latin-1")),
            "status": status,
            "rows": state.get("rows"),
            "seconds": round(seconds, 4),
            "release": self._release,
            **state.get("audit", {}),
        }


def _credential(headers: Headers) -> str | None:
    """Return what a request shows, too long or of another scheme as what is never valid; None when it shows nothing."""
    given = headers.get("Authorization")
    if given is None:
        plain = headers.get("X-API-Key")
        return None if plain is None else plain.strip()[:LONGEST]
    scheme, _, value = given.partition(" ")
    if scheme.lower() != "bearer" or len(value) > LONGEST:
        return ""
    return value.strip()


def identity_of(request: Request) -> Identity:
    """Return who asks."""
    found: Identity = request.state.identity
    return found


def admin_only(request: Request) -> None:
    """Refuse who may not administer.

    Raises:
        Refusal: the key's role is another.
    """
    role = identity_of(request).record.role
    if role != "admin":
        told = f"this needs a key of the role admin; the role of this one is {role}."
        scope = f'{CHALLENGE}, error="insufficient_scope", scope="admin"'
        raise Refusal(403, told, headers={"WWW-Authenticate": scope})
