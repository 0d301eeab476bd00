"""Write an example customer's files into an inbox.

Run:  cradle generate demo
      cradle generate lightnet --changed 0.01 --date 2026-02-02
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from cradle.errors import ConfigError
from cradle.examples.demo import demo_files
from cradle.examples.eaton import eaton_files
from cradle.examples.lightnet import lightnet_files
from cradle.examples.lightnet_changes import Change

File = tuple[str, bytes, int]
Maker = Callable[[int, int | None], Iterator[File]]
EXAMPLES: Final[dict[str, Maker]] = {"demo": demo_files, "eaton": eaton_files, "lightnet": lightnet_files}


@dataclass(frozen=True)
class Generated:
    """What a call wrote: files with their records, and how many were new or changed."""

    files: dict[str, int]
    written: int
    bytes: int
    seconds: float


def generate(
    name: str,
    inbox: Path,
    *,
    seed: int = 42,
    rows: int | None = None,
    changed: float | None = None,
    changed_files: int | None = None,
    day: date | None = None,
    told: Callable[[int, int], object] = lambda files, size: None,
) -> Generated:
    """Write an example's files below `inbox`; a file that is there with the same bytes is left alone.

    Args:
        rows: number of orders (demo) or of products (lightnet, eaton); None: full size.
        changed: make the next delivery of lightnet, with this share of its products changed, new or gone.
        changed_files: in how many of its files the changes stand; None: in all of them.
        day: write into the folder of this date; other dates have other changes.
        told: called after each file with the files and bytes so far.

    Raises:
        ConfigError: there is no such example, or no next delivery of it, or the share is none.
    """
    if name not in EXAMPLES:
        raise ConfigError(f"example {name!r} is unknown. Known: {', '.join(sorted(EXAMPLES))}.")
    made = EXAMPLES[name](seed, rows)
    if changed is not None:
        made = lightnet_files(seed, rows, _change(name, changed, changed_files, day))
    clock = time.monotonic()
    files: dict[str, int] = {}
    written = size = 0
    for path, content, records in made:
        files[path] = records
        size += len(content)
        written += _put((inbox / day.isoformat() if day else inbox) / path, content)
        told(len(files), size)
    return Generated(files, written, size, round(time.monotonic() - clock, 2))


def _change(name: str, share: float, files: int | None, day: date | None) -> Change:
    if name != "lightnet":
        raise ConfigError(f"example {name!r} has no next delivery. Run `cradle generate lightnet --changed 0.01`.")
    if not 0 < share <= 1 or (files is not None and files < 1):
        raise ConfigError(
            f"--changed {share:g} in {files or 'all'} files: the share is above 0 and at most 1, files are at least 1. "
            f"Run `cradle generate lightnet --changed 0.01`."
        )
    return Change(share, day.isoformat() if day else "next", files)


def _put(target: Path, content: bytes) -> bool:
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    temporary.write_bytes(content)
    temporary.replace(target)
    return True
