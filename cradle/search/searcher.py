"""Search by meaning, by words and by both, over the files of one image; filters are applied before anything is ranked.

Both: the best of each way are scored by both, and the weighted sum decides (Bruch, Gai and Ingber 2023, "An Analysis of
Fusion Functions for Hybrid Retrieval"; measured: decision 18). An article number that is asked for stands first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cradle.manifest import Manifest
from cradle.search.articles import Articles
from cradle.search.hits import Hit, Mode, Narrow
from cradle.search.lexical import Scan
from cradle.search.places import Mask, Places
from cradle.vectors.encoder import QueryEncoder
from cradle.vectors.flat import FlatIndex
from cradle.words.rank import WordIndex

CANDIDATES: Final = 100  # of each way, of which both ways score all
MEANING: Final = 0.4  # weight of the meaning beside that of the words
Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


class Searcher:
    """Searches one image: by words at once, by meaning when it is opened."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        if manifest.vectors is None or manifest.encoder is None:
            raise ValueError("the image has no vectors")
        self._root, self._manifest = root, manifest
        self._places = Places(root, manifest)
        self._articles = Articles(self._places.articles)
        # An image that was baked before there was such an index is read word by word.
        self._words = WordIndex(*(root / part for part in manifest.vectors.words)) if manifest.vectors.words else None
        self._scan = None if self._words else Scan(root, manifest)
        self._vectors: tuple[FlatIndex, QueryEncoder] | None = None

    def open_vectors(self, threads: int = 2) -> None:
        """Open the vectors and the query encoder."""
        vectors, entry = self._manifest.vectors, self._manifest.encoder
        assert vectors is not None
        assert entry is not None
        index = FlatIndex(*(self._root / part for part in vectors.parts), threads=threads)
        encoder = QueryEncoder(self._root / entry.file, self._root / entry.tokenizer, entry, threads)
        self._vectors = index, encoder

    def mode(self, wanted: Mode | None) -> Mode:
        """Return how a question is answered: as wanted, as far as this image can."""
        if self._vectors is None:
            return "lexical"
        if wanted == "hybrid" or wanted is None:
            return "hybrid" if self._words else "semantic"
        return wanted

    def search(self, query: str, k: int, narrow: Narrow, mode: Mode) -> list[Hit]:
        """Return the k best chunks."""
        if mode == "lexical" and self._scan:
            return self._scan.search(query, k, narrow)
        mask = self._places.mask(narrow)
        if mask is not None and not mask.any():
            return []
        if mode == "semantic":
            rows, scores = self._by_meaning(query, k, mask)
        elif mode == "lexical":
            rows, scores = self._by_words(query, k, mask)
        else:
            rows, scores = self._by_both(query, k, mask)
        chunks = self._places.chunks(rows)
        return [Hit(score=round(float(score), 6), **one) for score, one in zip(scores, chunks, strict=True)]

    def _by_meaning(self, query: str, k: int, mask: Mask | None) -> tuple[Rows, Scores]:
        assert self._vectors is not None
        index, encoder = self._vectors
        scores, rows = index.search(encoder.encode(query), k, mask)
        return best(rows[0][rows[0] >= 0], scores[0][rows[0] >= 0], k)

    def _by_words(self, query: str, k: int, mask: Mask | None) -> tuple[Rows, Scores]:
        assert self._words is not None
        scores = self._words.scores(query)
        rows = self._named(query, mask)
        scores[rows] += 1 + scores.max(initial=0)
        return best(*_top(scores, k, mask), k)

    def _by_both(self, query: str, k: int, mask: Mask | None) -> tuple[Rows, Scores]:
        assert self._words is not None
        assert self._vectors is not None
        index, encoder = self._vectors
        vector = encoder.encode(query)
        by_words = self._words.scores(query)
        _, near = index.search(vector, max(k, CANDIDATES), mask)
        held, _ = _top(by_words, max(k, CANDIDATES), mask)
        named = self._named(query, mask)
        rows = np.unique(np.concatenate([near[0][near[0] >= 0], held, named]))
        scores = fused(index.scores(vector[0], rows), by_words[rows])
        scores[np.isin(rows, named)] += 1
        return best(rows, scores, k)

    def _named(self, query: str, mask: Mask | None) -> Rows:
        """Return the rows of the products whose article number is in the question."""
        articles, _ = self._articles.find(query)
        found = [self._places.article_rows(one) for one in articles]
        rows = np.concatenate(found) if found else np.empty(0, np.int64)
        return rows if mask is None else rows[mask[rows]]


def fused(by_meaning: Scores, by_words: Scores) -> Scores:
    """Return the weighted sum of two scores of the same rows, each from 0, its worst, to 1, its best."""
    return np.float32(MEANING) * _stretched(by_meaning) + np.float32(1 - MEANING) * _stretched(by_words)


def _stretched(scores: Scores) -> Scores:
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    if high > low:
        stretched: Scores = (scores - low) / (high - low)
        return stretched
    return (scores > 0).astype(np.float32)


def _top(scores: Scores, k: int, mask: Mask | None) -> tuple[Rows, Scores]:
    """Return the k best rows that may be found and have a score, in any order."""
    rows = np.flatnonzero(scores if mask is None else scores * mask)
    if len(rows) > k:
        rows = rows[np.argpartition(-scores[rows], k)[:k]]
    return rows, scores[rows]


def best(rows: Rows, scores: Scores, k: int) -> tuple[Rows, Scores]:
    """Return the k best, ties in the order of rows."""
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
