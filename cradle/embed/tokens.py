"""Texts to tokens, ahead of the device, in processes of their own."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from typing import Final, TypeVar

import numpy as np
from tokenizers import Tokenizer

from cradle.embed.batches import Ragged

PIECE: Final = 4096  # texts that are tokenised in one go
MOST: Final = 8  # processes: one tokenises about 0.8 million tokens a second, a large GPU takes 1.3 million

Given = TypeVar("Given")
Made = TypeVar("Made")
_loaded: Tokenizer | None = None


def tokenised(pieces: Iterable[list[str]], tokenizer: str, limit: int, *, spare: int) -> Iterator[Ragged]:
    """Yield the tokens of each piece, in order; more than one piece is tokenised ahead in processes.

    Args:
        tokenizer: its JSON.
        limit: longer texts are cut off.
        spare: cores that the device leaves free.
    """
    several = iter(pieces)
    first = list(islice(several, 2))
    if len(first) < 2:
        own = _load(tokenizer, limit)
        yield from (_encoded(own, piece) for piece in first)
        return
    count = max(1, min(spare, MOST))
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start, initargs=(tokenizer, limit))
    with pool:
        for _, found in ahead(pool, _tokenise, chain(first, several), window=count + 2):
            yield found


def spare_cores(device: str, threads: int) -> int:
    """Return how many cores tokenising may take beside a device."""
    cores = len(os.sched_getaffinity(0))
    return cores - 1 if device != "cpu" else cores - threads


def ahead(
    pool: Executor, work: Callable[[Given], Made], given: Iterable[Given], *, window: int
) -> Iterator[tuple[Given, Made]]:
    """Yield each item with what was made of it, in order; at most `window` of them are under way."""
    running: deque[tuple[Given, Future[Made]]] = deque()
    try:
        for one in given:
            running.append((one, pool.submit(work, one)))
            if len(running) >= window:
                done, future = running.popleft()
                yield done, future.result()
        while running:
            done, future = running.popleft()
            yield done, future.result()
    finally:
        for _, future in running:
            future.cancel()


def _start(tokenizer: str, limit: int) -> None:
    global _loaded
    _loaded = _load(tokenizer, limit)


def _tokenise(piece: list[str]) -> Ragged:
    assert _loaded is not None
    return _encoded(_loaded, piece)


def _load(tokenizer: str, limit: int) -> Tokenizer:
    made = Tokenizer.from_str(tokenizer)
    made.no_padding()
    made.enable_truncation(limit)
    return made


def _encoded(tokenizer: Tokenizer, texts: list[str]) -> Ragged:
    rows = [np.array(one.ids, np.int32) for one in tokenizer.encode_batch_fast(texts)]
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return Ragged(np.concatenate(rows) if rows else np.empty(0, np.int32), ends)
