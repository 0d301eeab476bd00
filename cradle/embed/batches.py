"""Batches of fixed shapes: texts of like length, gathered over all that are to be embedded.

A text waits in the bucket of its length until a batch of that bucket is full, so that whatever the order of the texts,
hardly more is padded than if all had been sorted, and no more texts wait than one batch per bucket holds.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS: Final = ((128, 8), (256, 16), (512, 32), (8192, 128))  # up to so many tokens, buckets lie so far apart

Row = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Texts of one bucket: their places among all texts, and their tokens."""

    length: int
    size: int
    places: tuple[int, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Ragged:
    """The tokens of some texts, one after the other; text n ends at `ends[n]`."""

    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]

    def rows(self) -> Sequence[Row]:
        """Return the tokens of each text."""
        return np.split(self.tokens, self.ends[:-1]) if len(self.ends) else []


@lru_cache(maxsize=8)
def bucket_lengths(limit: int) -> tuple[int, ...]:
    """Return the lengths that batches may have; the last is the longest text's."""
    found, at = [], 0
    for upto, step in STEPS:
        while at < min(upto, limit):
            at += step
            found.append(min(at, limit))
    return tuple(found)


def batches(pieces: Iterable[Ragged], limit: int, tokens: int) -> Iterator[Batch]:
    """Yield batches of about so many tokens; those that are not full come last."""
    lengths, waiting, place = bucket_lengths(limit), dict[int, list[tuple[int, Row]]](), 0
    for piece in pieces:
        for row in piece.rows():
            length = lengths[bisect.bisect_left(lengths, len(row))]
            held = waiting.setdefault(length, [])
            held.append((place, row))
            place += 1
            if len(held) >= max(1, tokens // length):
                yield _batch(length, tokens, waiting.pop(length))
    for length in sorted(waiting):
        yield _batch(length, tokens, waiting[length])


def _batch(length: int, tokens: int, held: list[tuple[int, Row]]) -> Batch:
    places, rows = zip(*held, strict=True)
    return Batch(length, max(1, tokens // length), places, rows)


def jobs(found: Iterable[Batch], tokens: int) -> Iterator[tuple[Batch, ...]]:
    """Yield batches in groups of at most so many tokens, or alone: what a device computes before it answers."""
    group, held = list[Batch](), 0
    for batch in found:
        if group and held + batch.size * batch.length > tokens:
            yield tuple(group)
            group, held = [], 0
        group.append(batch)
        held += batch.size * batch.length
    if group:
        yield tuple(group)
