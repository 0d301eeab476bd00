"""How long a backfill may take, from the recorded outcomes of earlier runs."""

from __future__ import annotations

from statistics import median
from typing import Any

from cradle import names
from cradle.backfill.told import DayPreview
from cradle.config import Settings
from cradle.outcomes import recent


def minutes(settings: Settings, customer: str, days: list[DayPreview]) -> float | None:
    """Return the minutes that these days may take; None: no earlier run tells.

    A day takes what each verb usually took, `ingest` once per source, and its texts the time of embedding that many.
    """
    ended = [one for one in recent(settings, customer) if one["ok"]]
    texts, rate = sum(day.texts_to_embed for day in days), _texts_per_second(ended)
    if not any(one["verb"] == "build" for one in ended) or (texts and rate is None):
        return None
    seconds = sum(_usual(ended, verb) for verb in names.NIGHT if verb not in ("ingest", "embed")) * len(days)
    seconds += _usual(ended, "ingest") * sum(len(day.sources) for day in days)
    return round((seconds + (texts / rate if rate else 0.0)) / 60, 1)


def _usual(ended: list[dict[str, Any]], verb: str) -> float:
    taken = [float(one["seconds"]) for one in ended if one["verb"] == verb]
    return median(taken) if taken else 0.0


def _texts_per_second(ended: list[dict[str, Any]]) -> float | None:
    runs = [one for one in ended if one["verb"] == "embed" and one["counts"].get("embedded")]
    seconds = sum(float(one["seconds"]) for one in runs)
    return sum(int(one["counts"]["embedded"]) for one in runs) / seconds if seconds else None
