"""How fast this machine embeds, beside what its hardware can do at most."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cradle.config import Settings
from cradle.embed.embedder import load_embedder
from cradle.embed.model import devices_of, precision_on
from cradle.embed.tokens import PIECE
from cradle.installation import Embedding

SIDE: Final = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product tells the peak
ROUNDS: Final = 5
WARM: Final = 64  # texts embedded before the clock starts


class Measured(BaseModel):
    """What a run of `embed --benchmark` found.

    `padding` is tokens computed ÷ tokens of texts. `share_of_peak` counts what the
    texts need, and not what padding takes, against the rate of one large product of random matrices.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    made_by: str
    devices: int
    texts: int
    tokens_per_text: float
    load_seconds: float
    seconds: float
    chunks_per_second: float
    tokens_per_second: float
    padding: float
    teraflops: float
    peak_teraflops: float
    share_of_peak: float
    memory_mb: float
    device_memory_mb: float | None


def measure_embedding(
    settings: Settings, embedding: Embedding, texts: Sequence[str], devices: tuple[str, ...] | None = None
) -> Measured:
    """Embed some texts and tell how fast; the peak is measured first."""
    devices = devices or devices_of(settings)
    peak = sum(peak_rate(one, precision_on(one, embedding), settings.threads) for one in devices)
    clock = time.perf_counter()
    embedder = load_embedder(settings, embedding, devices)
    loaded = time.perf_counter() - clock
    embedder.encode(texts[:WARM])
    work = embedder.work
    work.clear()
    clock = time.perf_counter()
    for _ in embedder.embed(list(texts[at : at + PIECE]) for at in range(0, len(texts), PIECE)):
        pass
    seconds = time.perf_counter() - clock
    rate = work.operations / seconds
    return Measured(
        model=embedding.model,
        made_by=embedder.made_by,
        devices=len(devices),
        texts=len(texts),
        tokens_per_text=round(work.tokens / max(1, len(texts)), 1),
        load_seconds=round(loaded, 2),
        seconds=round(seconds, 2),
        chunks_per_second=round(len(texts) / seconds, 1),
        tokens_per_second=round(work.tokens / seconds, 1),
        padding=round(work.computed / max(1, work.tokens), 2),
        teraflops=round(rate / 1e12, 4),
        peak_teraflops=round(peak / 1e12, 4),
        share_of_peak=round(rate / peak, 3),
        memory_mb=round(_resident() / 2**20, 1),
        device_memory_mb=_device_memory(devices),
    )


def peak_rate(device: str, precision: str, threads: int) -> float:
    """Return the operations per second of a product of two square matrices of random numbers, the best of some rounds.

    Zeros would flatter: hardware draws less power for them and runs faster.
    """
    import torch

    kind, before = device.split(":")[0], torch.get_num_threads()
    side, dtype = SIDE[kind], torch.bfloat16 if precision == "bf16" else torch.float32
    torch.set_num_threads(threads if kind == "cpu" else before)
    try:
        draw = torch.Generator(device).manual_seed(7)
        one, two = (torch.randn(side, side, generator=draw, device=device, dtype=dtype) for _ in range(2))
        best = min(_seconds(torch, device, one, two) for _ in range(ROUNDS + 1))
    finally:
        torch.set_num_threads(before)
    return 2.0 * side**3 / best


def _seconds(torch: Any, device: str, one: Any, two: Any) -> float:
    times = 1 if device == "cpu" else 20
    if device != "cpu":
        torch.cuda.synchronize(device)
    clock = time.perf_counter()
    for _ in range(times):
        torch.matmul(one, two)
    if device != "cpu":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - clock) / times


def _resident() -> int:
    """Return the most bytes that this process and the largest of its children held."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(one).ru_maxrss for one in who) * 1024


def _device_memory(devices: tuple[str, ...]) -> float | None:
    """Return the most MB that this process held on a GPU; several GPUs are held by processes of their own."""
    import torch

    if len(devices) > 1 or devices[0] == "cpu":
        return None
    held: int = torch.cuda.max_memory_reserved(devices[0])
    return round(held / 2**20, 1)
