"""An original that was read: whose it is, and what stood in it."""

from __future__ import annotations

from dataclasses import dataclass

from cradle.catalog.deliveries import Original
from cradle.installation import Source
from dlt_pipelines.reading.answer import Reading


@dataclass(frozen=True)
class Loaded:
    """An original, the source that it belongs to, and its reading."""

    original: Original
    source: Source
    reading: Reading
