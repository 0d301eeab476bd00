"""The audit log: one JSON line for each request that needed a key, appended to a file of the state folder."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from cradle.log import get

log = get("audit")
FILE: Final = "audit.jsonl"
HIDDEN: Final = "…"
LONGEST: Final = 4_000
SECRET_NAME: Final = re.compile(r"key|token|secret|password|passwd|authorization|credential", re.IGNORECASE)
SECRET_VALUE: Final = re.compile(r"cradle_[0-9a-f]{12}_[A-Za-z0-9_-]*|eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_.-]+")


class Audit:
    """Appends records; a folder that is full or read-only costs the file, never the answers."""

    def __init__(self, state: Path) -> None:
        self._path, self._guard = state / FILE, threading.Lock()

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; where that can't be done it goes to the service's log instead."""
        line = (json.dumps(record, ensure_ascii=True, default=str) + "\n").encode()
        with self._guard:
            try:
                _append(self._path, line)
            except OSError as error:
                problem = error.strerror
                log.error("the audit log can't be written", path=str(self._path), problem=problem, record=record)


def _append(path: Path, line: bytes) -> None:
    """Append a line, whole or not at all."""
    # Opened each time: whoever moves the file away to keep it gets a new one begun.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        written = os.write(descriptor, line)
        if written < len(line):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(28, "No space left on device")
    finally:
        os.close(descriptor)


def safe_query(query: str) -> dict[str, str]:
    """Return a request's parameters without what looks like a secret."""
    found = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        found[safe_text(name)] = HIDDEN if SECRET_NAME.search(name) else safe_text(value)
    return found


def safe_text(text: str) -> str:
    """Return a text without keys and tokens, and not too long."""
    return SECRET_VALUE.sub(HIDDEN, text)[:LONGEST]
