"""Embeds many texts: tokens ahead, batches by length, one device or several, vectors as they come.

Flow: texts → tokens (processes) → batches by length → jobs → devices (threads on CPU, else a process each) → vectors
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cradle.config import Settings
from cradle.embed.batches import Batch, batches, jobs
from cradle.embed.model import Model, Vectors, devices_of, model_folder, model_key, precision_on
from cradle.embed.tokens import PIECE, ahead, spare_cores, tokenised
from cradle.installation import Embedding

BATCH_TOKENS: Final = {"cpu": 1024, "cuda": 65_536}  # of one batch: enough to fill the device
JOB_TOKENS: Final = {"cpu": 1024, "cuda": 2_097_152}  # of what is computed before vectors are fetched

Kind = Literal["passage", "query"]
Places = NDArray[np.int64]
Progress = Callable[[int, int, float], None]


@dataclass
class Work:
    """What was computed: tokens of texts, tokens with padding, and the operations that the texts needed."""

    tokens: int = 0
    computed: int = 0
    operations: int = 0

    def clear(self) -> None:
        """Begin to count anew."""
        self.tokens = self.computed = self.operations = 0


class Embedder(Protocol):
    """What turns texts into vectors of one dimension."""

    model_key: str
    dimension: int
    made_by: str
    work: Work

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        """Return float32 vectors, one row per text."""

    def embed(self, pieces: Iterable[list[str]], kind: Kind = "passage") -> Iterator[tuple[Places, Vectors]]:
        """Yield vectors as they are made, with the places of their texts among all pieces."""


def load_embedder(settings: Settings, embedding: Embedding, devices: tuple[str, ...] | None = None) -> Embedder:
    """Load a sentence-transformers model from local files onto the GPUs, or the CPU when there is none.

    Args:
        devices: "cpu" or "cuda:0", …; none named: what the settings and the machine say.
    """
    folder = model_folder(settings, embedding)
    return _Embedder(folder, embedding, settings, devices or devices_of(settings))


class _Embedder:
    def __init__(self, folder: Path, embedding: Embedding, settings: Settings, devices: tuple[str, ...]) -> None:
        self.model_key = model_key(folder, embedding)
        self._devices, self._kind = devices, devices[0].split(":")[0]
        self._folder, self._embedding, self._threads = folder, embedding, settings.threads
        # Several devices have a process each; this one then only knows how long texts may be and what a token is.
        self.model: Model | None = Model(folder, embedding, devices[0] if len(devices) == 1 else "cpu")
        self.dimension, self._limit = self.model.dimension, self.model.limit
        self.made_by = f"torch {self._kind} {precision_on(devices[0], embedding)}"
        self._per_token, self._per_pair = self.model.operations()
        self._tokenizer, self.work = self.model.tokenizer_json(), Work()
        if len(devices) > 1:
            self.model = None

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        """Return float32 vectors, one row per text, normalised when the settings say so."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        started, done = time.monotonic(), 0
        pieces = (list(texts[at : at + PIECE]) for at in range(0, len(texts), PIECE))
        for places, found in self.embed(pieces, kind):
            vectors[places] = found
            done += len(places)
            if progress:
                spent = time.monotonic() - started
                progress(done, len(texts), spent / done * (len(texts) - done))
        return vectors

    def embed(self, pieces: Iterable[list[str]], kind: Kind = "passage") -> Iterator[tuple[Places, Vectors]]:
        """Yield vectors as they are made, with the places of their texts among all pieces.

        Raises:
            VerifyFailed: a vector is not finite.
        """
        prefix = self._embedding.query_prefix if kind == "query" else self._embedding.passage_prefix
        prefixed = ([prefix + text for text in piece] for piece in pieces)
        spare = spare_cores(self._kind, self._threads)
        tokens = tokenised(prefixed, self._tokenizer, self._limit, spare=spare)
        found = jobs(batches(tokens, self._limit, BATCH_TOKENS[self._kind]), JOB_TOKENS[self._kind])
        with self._pool() as (pool, work, at_once):
            for job, vectors in ahead(pool, work, found, window=2 * at_once):
                self._count(job)
                yield np.concatenate([np.array(batch.places, np.int64) for batch in job]), vectors

    def _count(self, job: tuple[Batch, ...]) -> None:
        for batch in job:
            lengths = [len(row) for row in batch.rows]
            self.work.tokens += sum(lengths)
            self.work.computed += batch.length * (len(lengths) if self._kind == "cpu" else batch.size)
            self.work.operations += self._per_token * sum(lengths) + self._per_pair * sum(one * one for one in lengths)

    @contextmanager
    def _pool(self) -> Iterator[tuple[Executor, Callable[[tuple[Batch, ...]], Vectors], int]]:
        """Open what computes jobs: the function, and how many of them at once."""
        if self.model is not None:
            at_once = self._threads if self._kind == "cpu" else 1
            with ThreadPoolExecutor(at_once) as threads:
                yield threads, self.model.embed, at_once
            return
        context, count = get_context("spawn"), len(self._devices)
        given: Any = context.SimpleQueue()
        for device in self._devices:
            given.put(device)
        start = (self._folder, self._embedding, given)
        with ProcessPoolExecutor(count, context, initializer=_start, initargs=start) as processes:
            yield processes, _embed, count


_model: Model | None = None


def _start(folder: Path, embedding: Embedding, given: Any) -> None:
    """Load the model in a process of its own, onto the next device."""
    global _model
    _model = Model(folder, embedding, given.get())


def _embed(job: tuple[Batch, ...]) -> Vectors:
    assert _model is not None
    return _model.embed(job)
