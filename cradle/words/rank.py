"""BM25 over the inverted index, and the German compounds that a word of a question stands for.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with the IDF of Lucene, which is
never negative. Spellings that stand for one word of the question count as one term with weights, and are as rare as the
most frequent of them (Lucene's SynonymQuery).
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cradle.words.empty import EMPTY
from cradle.words.index import Part, term_hash
from cradle.words.terms import SHORTEST, stem, terms

K1: Final = 1.2
B: Final = 0.75
QUERY_TERMS: Final = 32  # of a question that are looked for
HEAD: Final = 0.6  # weight of a compound whose last part is the word asked for: it says what the thing is
FIRST: Final = 0.2  # of one that begins with it
PIECE: Final = 0.1  # of a part of the compound that is asked for
REST: Final = 3  # letters of a compound beside the word
MOST_SPELLINGS: Final = 64
Scores = NDArray[np.float32]
_LINKS: Final = ("", "s", "es", "n", "en", "er", "e")


class WordIndex:
    """The index of all rows, in the order of its files."""

    def __init__(self, *paths: Path) -> None:
        self._parts = [Part(path) for path in paths]
        self._starts = np.cumsum([0, *(len(part.lengths) for part in self._parts)])
        lengths = np.concatenate([part.lengths for part in self._parts]).astype(np.float32)
        mean = float(lengths.mean()) or 1.0 if len(lengths) else 1.0
        self._norms = np.float32(K1 * (1 - B)) + np.float32(K1 * B / mean) * lengths
        self._words = _letters(self._parts)

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self._starts[-1])

    def scores(self, query: str) -> Scores:
        """Return the score of every row; 0 where none of the words stands."""
        words = [self.spellings(term) for term in asked(query)]
        total = np.zeros(self.count, np.float32)
        if not words:
            return total
        weights = [weight for word in words for weight in word.values()]
        hashes = np.array([term_hash(term) for word in words for term in word], np.uint64)
        ends = np.cumsum([len(word) for word in words])
        found = [[part.span(place) for place in part.places(hashes)] for part in self._parts]
        held = np.sum([[span.stop - span.start for span in spans] for spans in found], axis=0)
        for start, end in zip([0, *ends], ends, strict=False):
            most = held[start:end].max()
            idf = np.float32(math.log1p((self.count - most + 0.5) / (most + 0.5)))
            for part, first, spans in zip(self._parts, self._starts, found, strict=False):
                here = slice(first, first + len(part.lengths))
                _add(total[here], part, list(zip(spans, weights, strict=True))[start:end], self._norms[here], idf)
        return total

    def spellings(self, term: str) -> dict[str, float]:
        """Return the terms that a word of a question stands for, with their weights."""
        found = {term: 1.0}
        if not term.isalpha() or len(term) < SHORTEST:
            return found
        for match in re.finditer(rf"\n(\w{{{REST},}}{term})(?=\n)|\n({term}\w{{{REST},}})(?=\n)", self._words):
            word, weight = (match.group(1), HEAD) if match.group(1) else (match.group(2), FIRST)
            found.setdefault(word, weight)
        for piece in self._pieces(term):
            found.setdefault(piece, PIECE)
        return dict(list(found.items())[:MOST_SPELLINGS])

    def _pieces(self, term: str) -> list[str]:
        """Return the words that make a compound, the last one first, as far as the index knows them."""
        for at in range(REST, len(term) - SHORTEST + 1):
            if self._knows(term[at:]):
                links = (link for link in _LINKS if term[:at].endswith(link))
                firsts = (stem(term[: at - len(link)]) for link in links)
                return [term[at:], *(one for one in firsts if len(one) >= REST and self._knows(one))][:2]
        return []

    def _knows(self, word: str) -> bool:
        return f"\n{word}\n" in self._words


def asked(query: str) -> list[str]:
    """Return the terms of a question that are looked for, each once."""
    found = list(dict.fromkeys(terms(query)))
    return [term for term in found if term not in EMPTY][:QUERY_TERMS] or found[:QUERY_TERMS]


def _add(total: Scores, part: Part, spellings: list[tuple[slice, float]], norms: Scores, idf: np.float32) -> None:
    """Add what one word of a question gives to the rows of a part."""
    have = [(span, np.float32(weight)) for span, weight in spellings if span.stop > span.start]
    if len(have) == 1:
        span, weight = have[0]
        rows, often = part.rows[span], part.counts[span] * weight
        total[rows] += idf * often * np.float32(K1 + 1) / (often + norms[rows])
    elif have:
        often = np.zeros(len(norms), np.float32)
        for span, weight in have:
            often[part.rows[span]] += part.counts[span] * weight
        total += idf * often * np.float32(K1 + 1) / (often + norms)


def _letters(parts: list[Part]) -> str:
    """Return all terms that are words, each between line ends."""
    found = [part.terms.filter(pc.utf8_is_alpha(part.terms)) for part in parts]
    words = pa.chunked_array(found, pa.string()).unique().sort()
    return "\n" + "\n".join(words.to_pylist()) + "\n"
