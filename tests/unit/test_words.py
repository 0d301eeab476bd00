"""Search by words: terms, the inverted index against a plain BM25, German compounds, article numbers."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from cradle.search.articles import Articles
from cradle.words.index import write_words
from cradle.words.rank import K1, B, WordIndex, asked
from cradle.words.terms import terms

SKUS = ("AAXCBE-830H-Q1170", "AAXCBE-830H-Q1171", "LIQEIN-840M-W0042", "4019283746501", "TN 2110", "Ä-17/b")
CATALOGUE = (
    "Matric LED-Deckenleuchten aus Aluminium",
    "Ringo Pendelleuchte, schwarz",
    "Outwall Wandleuchte für den Außenbereich",
    "Netzteil 24 V für die Schiene",
    "Leuchten und Zubehör",
    "Räume in Fluren",
    "Strahler mit 3000K und 1,5 A",
)
VOCABULARY = ("lamp", "lamps", "größe", "groesse", "3000k", "1,5", "ax-830h", "leuchte", "pendelleuchte", "und")
WORDS = st.sampled_from(VOCABULARY)
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=30)


def index(folder: Path, *parts: list[str]) -> WordIndex:
    for at, texts in enumerate(parts):
        write_words(folder / str(at), texts)
    return WordIndex(*(folder / str(at) for at in range(len(parts))))


def plain_bm25(texts: list[str], spellings: list[dict[str, float]]) -> list[float]:
    """Return the scores by the formula, text by text."""
    held = [Counter(terms(text)) for text in texts]
    mean = sum(one.total() for one in held) / len(held) or 1.0
    scores = [0.0] * len(texts)
    for word in spellings:
        most = max(sum(term in one for one in held) for term in word)
        idf = math.log(1 + (len(texts) - most + 0.5) / (most + 0.5))
        for at, one in enumerate(held):
            often = sum(weight * one[term] for term, weight in word.items())
            norm = K1 * (1 - B + B * one.total() / mean)
            scores[at] += idf * often * (K1 + 1) / (often + norm) if often else 0.0
    return scores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LED-Deckenleuchten", ["led", "deckenleucht"]),
        ("Größe GRÖSSE groesse", ["gros", "gros", "gros"]),
        ("AX-830H, 1,5 A", ["ax-830h", "ax", "830h", "830", "1.5", "a"]),
        ("3000K", ["3000k", "3000"]),
        ("Räume Raum", ["raum", "raum"]),
        ("luminaires luminaire", ["luminair", "luminair"]),
        ("", []),
    ],
)
def test_a_text_becomes_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@given(texts=TEXTS, query=st.lists(WORDS, max_size=5).map(" ".join), cut=st.integers(0, 30))
@hypothesis(max_examples=60, deadline=None)
def test_scores_are_those_of_bm25_however_the_rows_are_cut(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], query: str, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("words")
    whole = index(folder, texts)
    scores = whole.scores(query)
    spellings = [whole.spellings(term) for term in asked(query)]
    np.testing.assert_allclose(scores, plain_bm25(texts, spellings), rtol=1e-4, atol=1e-5)
    halves = index(tmp_path_factory.mktemp("halves"), texts[:cut], texts[cut:])
    np.testing.assert_allclose(halves.scores(query), scores, rtol=1e-5, atol=1e-6)


@given(texts=TEXTS)
@hypothesis(max_examples=20, deadline=None)
def test_equal_texts_give_equal_bytes(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("one", "two"):
        write_words(folder / name, texts)
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Deckenleuchte", {0, 4}),  # the plural behind a joint, and what stands for its last part
        ("Leuchte", {0, 1, 2, 4}),
        ("Pendel", {1}),
        ("aussen", {2}),
        ("außen", {2}),
        ("Aussenbereich", {2}),
        ("AUẞENBEREICH", {2}),
        ("Raum", {5}),
        ("raeume", {5}),
        ("3000 Kelvin", {6}),
        ("1.5", {6}),
        ("Kronleuchter xyz", {4}),
        ("nothing of it", set()),
    ],
)
def test_compounds_umlauts_and_endings_are_found(tmp_path: Path, query: str, found: set[int]) -> None:
    scores = index(tmp_path, list(CATALOGUE)).scores(query)
    assert set(np.flatnonzero(scores).tolist()) == found


def test_words_without_a_meaning_of_their_own_are_asked_for_only_alone() -> None:
    assert asked("something to sit on in the office") == ["sit", "offic"]
    assert asked("The Who") == ["the", "who"]


def test_the_word_itself_comes_before_its_compounds(tmp_path: Path) -> None:
    scores = index(tmp_path, ["Pendelleuchte in Grau", "Eine Leuchte in Grau", "Stuhl in Grau"]).scores("Leuchte")
    assert scores[1] > scores[0] > scores[2] == 0


@pytest.mark.parametrize(
    ("question", "found", "whole"),
    [
        ("AAXCBE-830H-Q1170", [0], True),
        ("aaxcbe-830h-q1170", [0], True),
        ("Is AAXCBE-830H-Q1170, or another, dimmable?", [0], True),
        ("is (LIQEIN 840M W0042) in stock", [2], True),
        ("aaxcbe830hq1170 oder LIQEIN-840M-W0042", [0, 2], True),
        ("tn 2110 toner", [4], True),
        ("tn-2110", [4], True),
        ("ä 17/B", [5], True),
        ("GTIN 4019283746501", [3], True),
        ("830H-Q117", [0, 1], False),
        ("Q1171?", [1], False),
        ("LIQEIN-840M", [2], False),
        ("1170 mm", [], False),
        ("3000K", [], False),
        ("warm white light", [], False),
        ("Q1", [], False),
        ("- ? /", [], False),
    ],
)
def test_article_numbers_are_found_in_questions(question: str, found: list[int], whole: bool) -> None:
    assert Articles(pa.array(SKUS)).find(question) == (found, whole)


def test_a_part_that_fits_too_many_numbers_says_nothing() -> None:
    assert Articles(pa.array([f"LED1-{at:04}" for at in range(50)])).find("led1") == ([], False)
    assert Articles(pa.array([], pa.string())).find("led1-0001") == ([], False)
