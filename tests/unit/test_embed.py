"""Texts to vectors, with a real model: a vector depends on its text alone."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from benchmarks.e5_shape import Shape, make_model
from cradle.config import Settings
from cradle.embed import Embedder, load_embedder, model_folder, model_key
from cradle.embed import embedder as embedder_module
from cradle.embed.batches import Ragged, batches, bucket_lengths, jobs
from cradle.embed.model import precision_on
from cradle.errors import ConfigError, VerifyFailed
from cradle.installation import Embedding

TEXT = "lamp housing aluminium 230 V IP65 sehr heller Strahler für Flure, warranty of five years; returns Größe"
SHORT = Embedding(max_tokens=64)  # eight buckets


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


def test_vectors_do_not_depend_on_the_number_of_devices_and_processes(
    texts: list[str], vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two devices with a process each, and texts enough to be tokenised in processes ahead of them."""
    monkeypatch.setattr(embedder_module, "PIECE", 5)
    several = load_embedder(Settings(device="cpu"), SHORT, devices=("cpu", "cpu"))
    np.testing.assert_array_equal(several.encode(texts), vectors)
    assert (several.dimension, several.model_key) == (384, load_embedder(Settings(device="cpu"), SHORT).model_key)


def test_vectors_that_are_not_finite_never_reach_the_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "acme" / "broken"
    shutil.copytree(model_folder(Settings(), Embedding()), folder)
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    broken = load_embedder(Settings(device="cpu", model_folder=tmp_path), Embedding(model="acme/broken"))
    with pytest.raises(VerifyFailed, match=r"not finite on cpu.*CRADLE_DEVICE=cpu"):
        broken.encode(["lamp"])


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_vectors_are_those_of_sentence_transformers(texts: list[str], precision: str, close: float) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_folder(Settings(), Embedding())), device="cpu", local_files_only=True)
    model.max_seq_length = SHORT.max_tokens
    theirs = model.encode(texts, normalize_embeddings=True)
    ours = load_embedder(Settings(device="cpu"), Embedding(max_tokens=64, precision=precision)).encode(texts)
    np.testing.assert_allclose(ours, theirs, atol=close)
    assert (ours * theirs).sum(1).min() > 0.999


def test_bf16_is_taken_where_the_hardware_has_it_and_never_where_fp32_is_asked_for(texts: list[str]) -> None:
    import torch

    able = torch.cpu.get_capabilities()
    expected = "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else "fp32"
    assert precision_on("cpu", Embedding()) == expected
    assert precision_on("cpu", Embedding(precision="fp32")) == "fp32"
    assert load_embedder(Settings(device="cpu"), Embedding()).made_by == f"torch cpu {expected}"


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


def test_progress_ends_at_the_number_of_texts(embedder: Embedder) -> None:
    seen: list[tuple[int, int, float]] = []
    embedder.encode(["lamp", "lamp " * 20, "lamp " * 90], progress=lambda *one: seen.append(one))
    assert [done for done, _, _ in seen] == [1, 2, 3]
    assert all(total == 3 for _, total, _ in seen)
    assert seen[-1][2] == 0


SCARCE = """
import resource, sys
from pathlib import Path
from cradle.config import Settings
from cradle.embed import embedder, load_embedder
from cradle.installation import Embedding

texts = ["lamp housing aluminium " * 40] * 120
settings = Settings(device="cpu", threads=1, model_folder=Path(sys.argv[1]))
model = load_embedder(settings, Embedding(model="acme/wide", max_tokens=96))
whole = model.encode(texts[:8])
for kind in ("BATCH_TOKENS", "JOB_TOKENS"):
    setattr(embedder, kind, {"cpu": 120 * 96})
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, resource.RLIM_INFINITY))
found = model.encode(texts)
print("shared", model.model._share, "equal", bool((found == whole[0]).all()))
"""


def test_when_memory_ends_batches_are_halved_and_vectors_stay_the_same(tmp_path: Path) -> None:
    """The limit is that of the kernel: torch asks for more than there is, and goes on with less."""
    wide = Shape(layers=1, hidden=16, heads=2, inner=8192, vocabulary=200, longest=96)  # much memory, little work
    make_model(tmp_path / "acme/wide", [TEXT], wide)
    run = [sys.executable, "-c", SCARCE, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    shared = re.search(r"shared (\d+) equal True", done.stdout)
    assert shared, done.stdout + done.stderr
    assert int(shared[1]) >= 2


def test_a_gpu_that_is_full_gets_smaller_batches_until_they_fit(texts: list[str], vectors: np.ndarray) -> None:
    """No GPU is at hand: its error is raised by the real model where too many tokens reach it."""
    import torch

    scarce = load_embedder(Settings(device="cpu", threads=1), SHORT)
    sizes = []

    def full(_: object, inputs: tuple[dict[str, torch.Tensor]]) -> None:
        sizes.append(inputs[0]["input_ids"].shape[0])
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = scarce.model._transformer.register_forward_pre_hook(full)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(scarce.encode(texts * 4), np.tile(vectors, (4, 1)))
    hook.remove()
    assert sizes[0] > 5
    assert max(sizes[-3:]) <= 5


def test_an_error_that_is_not_about_memory_is_not_tried_again(texts: list[str]) -> None:
    broken = load_embedder(Settings(device="cpu", threads=1), SHORT)
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    broken.model._transformer.register_forward_pre_hook(fail)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="illegal memory access"):
        broken.encode(["lamp"])
    assert calls == [1]


@given(st.lists(st.integers(1, 64), max_size=80), st.integers(1, 30), st.sampled_from([8, 64, 300]))
def test_every_text_is_in_one_batch_of_its_bucket(lengths: list[int], piece: int, tokens: int) -> None:
    rows = [np.full(length, at, np.int32) for at, length in enumerate(lengths)]
    pieces = [
        Ragged(np.concatenate(part), np.cumsum([len(row) for row in part], dtype=np.int64))
        for part in (rows[at : at + piece] for at in range(0, len(rows), piece))
    ]
    found = list(batches(pieces, 64, tokens))
    placed = {place: row for batch in found for place, row in zip(batch.places, batch.rows, strict=True)}
    assert sum(len(batch.places) for batch in found) == len(placed) == len(rows)
    assert all((placed[at] == at).all() and len(placed[at]) == lengths[at] for at in placed)
    for batch in found:
        assert batch.length in bucket_lengths(64)
        assert batch.size == max(1, tokens // batch.length)
        assert 0 < len(batch.rows) <= batch.size
        assert all(batch.length - 8 < len(row) <= batch.length for row in batch.rows)
    short = [batch.length for batch in found if len(batch.rows) < batch.size]
    assert len(short) == len(set(short)), "a bucket has at most one batch that is not full"
    groups = list(jobs(found, 128))
    assert [batch for group in groups for batch in group] == found
    assert all(len(group) == 1 or sum(one.size * one.length for one in group) <= 128 for group in groups)


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
    for fields in ({"normalize": False}, {"max_tokens": 128}, {"query_prefix": "q: "}, {"precision": "fp32"}):
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
