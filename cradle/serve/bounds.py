"""How much one request may ask for, and the refusal of addresses and bodies that are longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from cradle.serve.problems import problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Bounds:
    """Limits of the service.

    Attributes:
        seconds: for what DuckDB does for one page, or for one part of a file.
        files: that are written at the same time.
        url: bytes of path and query together.
        body: bytes of a request's body.
        rate: requests of one key.
        token_seconds: how long a token is valid.
        sql_seconds: for one statement; its process is killed then.
        sql_rows: of one answer.
        sql_bytes: of one answer.
        sql_memory_mb: DuckDB's memory for one statement.
        sql_process_mb: address space of the process it runs in.
        sql_processes: statements at the same time.
        sql_wait: seconds that a statement waits for its turn.
    """

    seconds: float = 30.0
    files: int = 4
    url: int = 8_192
    body: int = 65_536
    rate: str = "600/minute"
    token_seconds: int = 900
    sql_seconds: float = 10.0
    sql_rows: int = 10_000
    sql_bytes: int = 8_388_608
    sql_memory_mb: int = 512
    sql_process_mb: int = 2_048
    sql_processes: int = 2
    sql_wait: float = 5.0


class Bounded:
    """Refuses requests that are too long before anything reads them."""

    def __init__(self, app: Any, bounds: Bounds) -> None:
        self._app, self._bounds = app, bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body read and counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
        if length > self._bounds.url:
            told = f"the address has {length} bytes; allowed are {self._bounds.url}. Ask for less in one request."
            await problem(414, told)(scope, receive, send)
            return
        body = await self._body(scope, receive)
        if body is None:
            told = f"the body has more than the {self._bounds.body} bytes that are allowed."
            await problem(413, told, headers={"Connection": "close"})(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body; None when it is too long."""
        headers = dict(scope["headers"])
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > self._bounds.body:
            return None
        if told in (b"", b"0") and b"transfer-encoding" not in headers:
            return b""
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message["type"] == "http.request" and message.get("more_body", False)
            if size > self._bounds.body:
                return None
        return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, then what else comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
