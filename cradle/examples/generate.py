"""Write an example customer's files into an inbox.

Run:  cradle generate demo
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cradle.errors import ConfigError
from cradle.examples.demo import demo_files
from cradle.examples.eaton import eaton_files
from cradle.examples.lightnet import lightnet_files

Maker = Callable[[int, int | None], Iterator[tuple[str, bytes, int]]]
EXAMPLES: Final[dict[str, Maker]] = {"demo": demo_files, "eaton": eaton_files, "lightnet": lightnet_files}


@dataclass(frozen=True)
class Generated:
    """What a call wrote: files with their records, and how many were new or changed."""

    files: dict[str, int]
    written: int
    bytes: int
    seconds: float


def generate(name: str, inbox: Path, *, seed: int = 42, rows: int | None = None) -> Generated:
    """Write an example's files below `inbox`; a file that is there with the same bytes is left alone.

    Args:
        rows: number of orders (demo) or of products (lightnet, eaton); None: full size.

    Raises:
        ConfigError: there is no such example.
    """
    if name not in EXAMPLES:
        raise ConfigError(f"example {name!r} is unknown. Known: {', '.join(sorted(EXAMPLES))}.")
    clock = time.monotonic()
    files: dict[str, int] = {}
    written = size = 0
    for path, content, records in EXAMPLES[name](seed, rows):
        files[path] = records
        size += len(content)
        written += _put(inbox / path, content)
    return Generated(files, written, size, round(time.monotonic() - clock, 2))


def _put(target: Path, content: bytes) -> bool:
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    temporary.write_bytes(content)
    temporary.replace(target)
    return True
