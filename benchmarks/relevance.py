"""Measures how good search is on judged questions: meaning, words, and both as an image sums them up.

Reads any data set in the form of BEIR: corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels/test.tsv
(query-id, corpus-id, score). No data set is part of this project.
Run:  python -m benchmarks.relevance FOLDER
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cradle.chunk import chunk_document
from cradle.config import load_settings
from cradle.embed import load_embedder
from cradle.installation import Embedding
from cradle.search.searcher import CANDIDATES, fused
from cradle.words.index import write_words
from cradle.words.rank import WordIndex

DEEP = 10
Ratings = dict[str, dict[str, float]]


def read(folder: Path) -> tuple[list[str], list[str], dict[str, str], Ratings]:
    """Return (documents, texts) of all chunks, the questions and their ratings."""
    documents, texts = list[str](), list[str]()
    for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        whole = f"# {one['title']}\n\n{one['text']}" if one.get("title") else one["text"]
        for chunk in chunk_document(one["_id"], whole, max_chars=700, overlap_chars=80):
            documents.append(one["_id"])
            texts.append(chunk.text)
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = {one["_id"]: one["text"] for one in map(json.loads, lines)}
    ratings: Ratings = defaultdict(dict)
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            ratings[row["query-id"]][row["corpus-id"]] = float(row["score"])
    return documents, texts, questions, {one: rated for one, rated in ratings.items() if any(rated.values())}


def ndcg(ranked: list[str], rated: dict[str, float]) -> float:
    """Return the normalised discounted cumulative gain of the first ten; a gain is 2^rating - 1."""
    discount = 1 / np.log2(np.arange(2, DEEP + 2))
    gains = [2 ** rated.get(one, 0.0) - 1 for one in ranked[:DEEP]]
    best = [2**one - 1 for one in sorted(rated.values(), reverse=True)[:DEEP]]
    return float(np.dot(gains, discount[: len(gains)]) / np.dot(best, discount[: len(best)]))


def measure(folder: Path) -> dict[str, Any]:
    """Return the mean nDCG@10 of each way, over all documents and over those that are rated."""
    documents, texts, questions, ratings = read(folder)
    embedder = load_embedder(load_settings(), Embedding(model="sentence-transformers/all-MiniLM-L6-v2", max_tokens=256))
    vectors = embedder.encode(texts).astype(np.float16).astype(np.float32)
    asked = embedder.encode([questions[one] for one in ratings], "query")
    with tempfile.TemporaryDirectory() as scratch:
        write_words(Path(scratch) / "words", texts)
        words = WordIndex(Path(scratch) / "words")
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for vector, (name, rated) in zip(asked, ratings.items(), strict=True):
        for way, order in _orders(vectors @ vector, words.scores(questions[name])).items():
            ranked = list(dict.fromkeys(documents[at] for at in order))
            scores[way].append((ndcg(ranked, rated), ndcg([one for one in ranked if one in rated], rated)))
    found = {way: [round(float(one), 4) for one in np.mean(pairs, axis=0)] for way, pairs in scores.items()}
    return {"documents": len(set(documents)), "questions": len(ratings), "ndcg@10 (all, rated only)": found}


def _orders(meaning: NDArray[np.float32], words: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    near = np.argsort(-meaning, kind="stable")[:CANDIDATES]
    held = np.flatnonzero(words)
    held = held[np.argsort(-words[held], kind="stable")][:CANDIDATES]
    rows = np.union1d(near, held)
    both = rows[np.argsort(-fused(meaning[rows], words[rows]), kind="stable")]
    return {"meaning": near, "words": held, "both": both}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="data set in the form of BEIR")
    sys.stdout.write(json.dumps(measure(parser.parse_args().folder), indent=1) + "\n")
