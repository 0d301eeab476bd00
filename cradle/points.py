"""Named moments at which a test may kill the process: around every commit and every rename.

Nothing listens in production; a test appends a function to `LISTENERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LISTENERS: Final[list[Callable[[str], None]]] = []


def point(name: str) -> None:
    """Tell the listeners that this moment is reached; `name` is `<what>.<before or after>`."""
    for listener in LISTENERS:
        listener(name)
