"""The production model's kind, XLM-R with prefixes, through the code that loads the real one; small, random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.e5_shape import Shape, make_model
from cradle.config import Settings
from cradle.embed import load_embedder
from cradle.indexing.speed import catalogue_texts
from cradle.installation import Embedding

NAME = "intfloat/multilingual-e5-large"
SMALL = Shape(layers=2, hidden=64, heads=4, inner=128, vocabulary=900, longest=96)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*catalogue_texts(40), "Größe", "lamp " * 200]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / NAME, texts, SMALL)
    return folder


@pytest.mark.parametrize(("kind", "prefix"), [("passage", "passage: "), ("query", "query: ")])
def test_prefixes_pooling_and_norm_are_those_of_sentence_transformers(
    models: Path, texts: list[str], kind: str, prefix: str
) -> None:
    from sentence_transformers import SentenceTransformer

    embedding = Embedding(
        model=NAME, query_prefix="query: ", passage_prefix="passage: ", max_tokens=512, precision="fp32"
    )
    ours = load_embedder(Settings(device="cpu", model_folder=models), embedding)
    vectors = ours.encode(texts, kind)  # type: ignore[arg-type]
    theirs = SentenceTransformer(str(models / NAME), device="cpu", local_files_only=True)
    expected = theirs.encode([prefix + text for text in texts], normalize_embeddings=True)
    assert vectors.shape == (len(texts), SMALL.hidden)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(vectors - theirs.encode(texts, normalize_embeddings=True)).max() > 1e-3, "the prefix changes nothing"


def test_a_model_is_the_same_each_time_it_is_made(models: Path, texts: list[str], tmp_path: Path) -> None:
    make_model(tmp_path, texts, SMALL)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (models / NAME / name).read_bytes()
