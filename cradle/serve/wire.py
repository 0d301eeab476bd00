"""How the service and its worker processes talk: a length of 8 bytes, then JSON."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import IO, Any, Final

LENGTH: Final = struct.Struct(">Q")
PART: Final = 1 << 20


def write(stream: IO[bytes], content: dict[str, Any]) -> None:
    """Send a message."""
    body = json.dumps(content).encode()
    stream.write(LENGTH.pack(len(body)) + body)
    stream.flush()


def read(stream: IO[bytes], seconds: float) -> dict[str, Any]:
    """Return the next message.

    Raises:
        TimeoutError: it did not come in time.
        EOFError: the other side ended.
    """
    until = time.monotonic() + seconds
    (size,) = LENGTH.unpack(_bytes(stream, LENGTH.size, until))
    found: dict[str, Any] = json.loads(_bytes(stream, size, until))
    return found


def _bytes(stream: IO[bytes], size: int, until: float) -> bytes:
    parts, left, ready = list[bytes](), size, select.poll()
    ready.register(stream, select.POLLIN)
    while left:
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError
        part = os.read(stream.fileno(), min(left, PART))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
