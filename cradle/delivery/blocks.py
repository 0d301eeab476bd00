"""Finds the bytes of the old blobs in a new one: at any offset, with numpy and no loop over bytes.

The old blobs are cut into blocks; a window as long as a block is rolled over the new blob; equal hashes are compared
byte by byte, and what is equal is extended to both sides. So the time goes into what changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

BLOCK: Final = 512  # bytes, a tar's own: of 1 % changed rows in SQLite pages 4096 made 2.3 % of delta, 512 made 1.6 %
WORD: Final = 8
WORDS: Final = BLOCK // WORD
FIRST_LOOK: Final = 1024  # offsets that are looked at first; then twice as many, and so on
WIDEST_LOOK: Final = 65536
MULTIPLIER: Final = 0x9E3779B97F4A7C15  # odd: it has an inverse modulo 2**64
FILTER_BITS: Final = range(16, 29)
ROOM: Final = 32  # places of the filter for each block
AT_ONCE: Final = 16384  # blocks that are hashed at once
STEP: Final = 1 << 16


def _powers(base: int, count: int) -> Words:
    found = np.full(count, base, np.uint64)
    found[0] = 1
    return np.cumprod(found, dtype=np.uint64)


_POWERS: Final = _powers(MULTIPLIER, (WIDEST_LOOK + BLOCK) // WORD)
_INVERSE: Final = _powers(pow(MULTIPLIER, -1, 1 << 64), WIDEST_LOOK // WORD)


def block_hashes(data: Bytes) -> Words:
    """Return the hash of each whole block."""
    blocks = data[: len(data) // BLOCK * BLOCK].reshape(-1, BLOCK).view("<u8")
    parts = [(blocks[at : at + AT_ONCE] * _POWERS[:WORDS]).sum(axis=1) for at in range(0, len(blocks), AT_ONCE)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def window_hashes(data: Bytes) -> Words:
    """Return the hash of the window of one block at every offset; `data` is at most `WIDEST_LOOK` + one block long."""
    count = len(data) - BLOCK + 1
    rows = -(-count // WORD)
    padded = np.zeros(rows * WORD + BLOCK, np.uint8)
    padded[: len(data)] = data
    # Eight sequences of words, one for each remainder of the offset; their running sums give every window.
    words = np.ndarray((rows + WORDS - 1, WORD), "<u8", buffer=padded.data, strides=(WORD, 1))
    sums = np.zeros((len(words) + 1, WORD), np.uint64)
    np.cumsum(words * _POWERS[: len(words), None], axis=0, out=sums[1:])
    found: Words = ((sums[WORDS:] - sums[:rows]) * _INVERSE[:rows, None]).ravel()[:count]
    return found


@dataclass(frozen=True)
class Match:
    """Bytes of the new blob that stand in a source too."""

    at: int
    source: int
    offset: int
    length: int


class Blocks:
    """The blocks of the sources, found by what they hold."""

    def __init__(self, sources: list[Bytes]) -> None:
        self.sources = sources
        hashed = [block_hashes(source) for source in sources]
        counts = [len(one) for one in hashed]
        self.begins = np.cumsum([0, *counts])
        every = np.concatenate(hashed) if hashed else np.zeros(0, np.uint64)
        self.hashes, self.places = np.unique(every, return_index=True)
        bits = min(max((len(every) * ROOM).bit_length(), FILTER_BITS[0]), FILTER_BITS[-1])
        self.shift = np.uint64(64 - bits)
        self.filter = np.zeros(1 << bits, np.bool_)
        self.filter[self.hashes >> self.shift] = True

    def matches(self, data: Bytes) -> list[Match]:
        """Return what of `data` stands in the sources: in order, without overlap."""
        found: list[Match] = []
        done, begin, look = 0, 0, FIRST_LOOK
        while len(data) - begin >= BLOCK and len(self.hashes):
            end = min(len(data), begin + look + BLOCK - 1)
            hit = self._first(data, begin, end)
            if hit is None:
                begin, look = end - BLOCK + 1, min(look * 2, WIDEST_LOOK)
                continue
            match = self._extended(data, hit, done)
            found.append(match)
            begin = done = match.at + match.length
            look = FIRST_LOOK
        return found

    def _first(self, data: Bytes, begin: int, end: int) -> Match | None:
        """Return the first block that stands in `data[begin:end]`."""
        hashes = window_hashes(data[begin:end])
        maybe = np.flatnonzero(self.filter[hashes >> self.shift])
        if not len(maybe):
            return None
        near = np.searchsorted(self.hashes, hashes[maybe])
        near[near == len(self.hashes)] = 0
        for which in np.flatnonzero(self.hashes[near] == hashes[maybe]):
            at, block = begin + int(maybe[which]), int(self.places[near[which]])
            source = int(np.searchsorted(self.begins, block, side="right")) - 1
            offset = (block - int(self.begins[source])) * BLOCK
            if np.array_equal(data[at : at + BLOCK], self.sources[source][offset : offset + BLOCK]):
                return Match(at, source, offset, BLOCK)
        return None

    def _extended(self, data: Bytes, hit: Match, done: int) -> Match:
        """Let a match grow to both sides as far as the bytes are equal; `data[:done]` is taken."""
        source = self.sources[hit.source]
        back = min(hit.at - done, hit.offset, 2 * BLOCK)
        before = _equal(data[hit.at - back : hit.at][::-1], source[hit.offset - back : hit.offset][::-1])
        after = _equal(data[hit.at + BLOCK :], source[hit.offset + BLOCK :])
        return Match(hit.at - before, hit.source, hit.offset - before, before + BLOCK + after)


def _equal(one: Bytes, two: Bytes) -> int:
    """Return how many bytes are equal from the beginning."""
    length, done, step = min(len(one), len(two)), 0, STEP
    while done < length:
        end = min(done + step, length)
        differs = one[done:end] != two[done:end]
        if differs.any():
            return done + int(differs.argmax())
        done, step = end, min(step * 2, 1 << 22)
    return done
