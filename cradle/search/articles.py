"""Article numbers in a question: the whole one, also among other words, or a part of it."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pyarrow as pa

from cradle.words.index import term_hash
from cradle.words.terms import fold

WORDS: Final = 3  # of a question that may make one number, where it is written with spaces
SHORTEST_PART: Final = 4
MOST: Final = 20  # numbers that a part may fit; one that fits more says nothing
PARTS: Final = 4  # of a question that are looked for inside of numbers
_PLAIN = re.compile(r"[\W_]+")
_AMOUNT = re.compile(r"\d+[^\W\d]{0,3}")  # 1200, 3000K, 42W: what a product measures


class Articles:
    """Finds article numbers of one image."""

    def __init__(self, numbers: pa.Array) -> None:
        plain = [plain_number(one) for one in numbers.to_pylist()]
        self._hashes = np.array([term_hash(one) for one in plain], np.uint64)
        self._order = np.argsort(self._hashes, kind="stable")
        self._hashes = self._hashes[self._order]
        self._text = "\n" + "\n".join(plain) + "\n"
        self._starts = np.cumsum([1, *(len(one) + 1 for one in plain)])

    def find(self, question: str) -> tuple[list[int], bool]:
        """Return places of the numbers that are meant, and whether they are meant whole."""
        words = question.split()
        whole = [
            found
            for size in range(WORDS, 0, -1)
            for at in range(len(words) - size + 1)
            for found in self._whole(plain_number("".join(words[at : at + size])))
        ]
        if whole:
            return list(dict.fromkeys(whole)), True
        plain = [plain_number(word) for word in words]
        parts = [one for one in plain if any(map(str.isdigit, one)) and not _AMOUNT.fullmatch(one)]
        found = [one for part in parts[:PARTS] for one in self._holding(part)]
        return list(dict.fromkeys(found)), False

    def _whole(self, plain: str) -> list[int]:
        hashed = term_hash(plain)
        start, end = np.searchsorted(self._hashes, hashed, "left"), np.searchsorted(self._hashes, hashed, "right")
        return [int(one) for one in self._order[start:end]] if plain else []

    def _holding(self, part: str) -> list[int]:
        if len(part) < SHORTEST_PART:
            return []
        found: list[int] = []
        at = self._text.find(part)
        while at >= 0 and len(found) <= MOST:
            place = int(np.searchsorted(self._starts, at, "right")) - 1
            found.append(place)
            at = self._text.find(part, int(self._starts[place + 1]))
        return found if len(found) <= MOST else []


def plain_number(number: str) -> str:
    """Return an article number without case, joints and spaces."""
    return _PLAIN.sub("", fold(number))
