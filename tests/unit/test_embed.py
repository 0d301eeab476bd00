"""Texts to vectors, with a real model: a vector depends on its text alone."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from cradle.config import Settings
from cradle.embed import Embedder, load_embedder, model_folder, model_key
from cradle.errors import ConfigError, VerifyFailed
from cradle.installation import Embedding

TEXT = "lamp housing aluminium 230 V IP65 sehr heller Strahler für Flure, warranty of five years; returns Größe"
SHORT = Embedding(max_tokens=64)  # three buckets


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder(Settings(device="cpu"), SHORT)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts of 1 to 90 words: every bucket is met, and the longest are cut off."""
    draw = random.Random(7)
    return [" ".join(draw.choices(TEXT.split(), k=words)) for words in (1, 90, 4, 9, 20, 1, 33, 9, 4, 20, 90, 6)]


@pytest.fixture(scope="module")
def vectors(embedder: Embedder, texts: list[str]) -> np.ndarray:
    return embedder.encode(texts)


def test_a_vector_is_the_same_whatever_stands_beside_its_text(
    embedder: Embedder, texts: list[str], vectors: np.ndarray
) -> None:
    order = random.Random(3).sample(range(len(texts)), len(texts))
    np.testing.assert_array_equal(embedder.encode([texts[at] for at in order]), vectors[order])
    parts = [embedder.encode(texts[:5]), embedder.encode(texts[5:])]
    np.testing.assert_array_equal(np.concatenate(parts), vectors)
    np.testing.assert_array_equal(embedder.encode([texts[5]] * 3), vectors[[5, 5, 5]])


def test_vectors_do_not_depend_on_the_number_of_threads(texts: list[str], vectors: np.ndarray) -> None:
    single = load_embedder(Settings(device="cpu", threads=1), SHORT)
    np.testing.assert_array_equal(single.encode(texts), vectors)


def test_vectors_are_those_of_sentence_transformers(texts: list[str], vectors: np.ndarray) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_folder(Settings(), Embedding())), device="cpu", local_files_only=True)
    model.max_seq_length = SHORT.max_tokens
    np.testing.assert_allclose(vectors, model.encode(texts, normalize_embeddings=True), atol=1e-4)


def test_vectors_are_finite_normal_float32(embedder: Embedder, vectors: np.ndarray) -> None:
    assert vectors.dtype == np.float32
    assert vectors.shape[1] == embedder.dimension == 384
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.encode([]).shape == (0, 384)
    assert np.isfinite(embedder.encode(["", " ", "\n", "\U0001f4a1" * 50, "\x00"])).all()


def test_prefixes_are_put_before_queries_and_passages(embedder: Embedder) -> None:
    prefixes = Embedding(max_tokens=64, query_prefix="query: ", passage_prefix="passage: ")
    prefixed = load_embedder(Settings(device="cpu"), prefixes)
    np.testing.assert_array_equal(prefixed.encode(["lamp"], "query"), embedder.encode(["query: lamp"]))
    np.testing.assert_array_equal(prefixed.encode(["lamp"]), embedder.encode(["passage: lamp"]))


def test_vectors_that_are_not_finite_never_reach_the_ledger(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_batch", lambda rows, *_: np.full((len(rows), 384), np.nan, np.float32))
    with pytest.raises(VerifyFailed, match=r"not finite on cpu.*CRADLE_DEVICE=cpu"):
        embedder.encode(["lamp"])


def test_progress_ends_at_the_number_of_texts(embedder: Embedder) -> None:
    seen: list[tuple[int, int, float]] = []
    embedder.encode(["lamp", "lamp " * 20, "lamp " * 90], progress=lambda *one: seen.append(one))
    assert [done for done, _, _ in seen] == [1, 2, 3]
    assert all(total == 3 for _, total, _ in seen)
    assert seen[-1][2] == 0


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A model folder of our own, small in weights: keys are computed without loading the model."""
    folder = tmp_path / "models" / "acme" / "small"
    shutil.copytree(
        model_folder(Settings(), Embedding()), folder, ignore=shutil.ignore_patterns("*.safetensors", ".git*")
    )
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def key_of(folder: Path, **fields: object) -> str:
    model_key.cache_clear()
    return model_key(folder, Embedding(model="acme/small", **fields))  # type: ignore[arg-type]


def test_whatever_decides_a_vector_changes_the_model_key(copied: Path) -> None:
    seen = {key_of(copied)}
    assert key_of(copied) in seen
    for fields in ({"normalize": False}, {"max_tokens": 128}, {"query_prefix": "q: "}, {"passage_prefix": "p: "}):
        seen.add(key_of(copied, **fields))
    for name in ("model.safetensors", "tokenizer.json", "vocab.txt", "1_Pooling/config.json"):
        (copied / name).write_bytes((copied / name).read_bytes() + b" ")
        seen.add(key_of(copied))
    (copied / "2_Dense").mkdir()
    for value in (b"a", b"b"):
        (copied / "2_Dense" / "model.safetensors").write_bytes(value)
        seen.add(key_of(copied))
    (copied / "sentencepiece.bpe.model").write_bytes(b"pieces")
    seen.add(key_of(copied))
    assert len(seen) == 1 + 4 + 4 + 2 + 1


def test_what_decides_no_vector_leaves_the_model_key(copied: Path) -> None:
    before = key_of(copied)
    (copied / "README.md").write_text("other words")
    assert key_of(copied) == before


def test_a_model_is_found_in_the_configured_folder(copied: Path) -> None:
    settings = Settings(model_folder=copied.parents[1])
    assert model_folder(settings, Embedding(model="acme/small")) == copied


@pytest.mark.parametrize("place", ["", "2_Dense"])
def test_weights_that_may_hold_code_are_refused(copied: Path, place: str) -> None:
    (copied / place).mkdir(exist_ok=True)
    (copied / place / "model.safetensors").unlink(missing_ok=True)
    (copied / "openvino").mkdir()
    (copied / "openvino" / "openvino_model.bin").write_bytes(b"never loaded, refuses nothing")
    assert place == "" or key_of(copied)
    (copied / place / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ConfigError, match=r"safetensors"):
        key_of(copied)


def test_a_model_that_is_nowhere_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'acme/none' is neither .*CRADLE_MODEL_FOLDER.*run again"):
        model_folder(Settings(model_folder=tmp_path), Embedding(model="acme/none"))
