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

    A day takes what each verb took most often, and its texts the time of embedding that many.
    """
    ended = [one for one in recent(settings, customer) if one["ok"]]
    rate = _texts_per_second(ended)
    texts = sum(day.texts_to_embed for day in days)
    usual = {verb: _usual(ended, verb) for verb in names.NIGHT if verb != "embed"}
    if None in usual.values() or (texts and rate is None):
        return None
    seconds = sum(taken or 0.0 for verb, taken in usual.items() if verb != "ingest") * len(days)
    seconds += (usual["ingest"] or 0.0) * sum(len(day.sources) for day in days)
    return round((seconds + (texts / rate if rate else 0.0)) / 60, 1)


def _usual(ended: list[dict[str, Any]], verb: str) -> float | None:
    taken = [float(one["seconds"]) for one in ended if one["verb"] == verb]
    return median(taken) if taken else None


def _texts_per_second(ended: list[dict[str, Any]]) -> float | None:
    runs = [one for one in ended if one["verb"] == "embed" and one["counts"].get("embedded")]
    seconds = sum(float(one["seconds"]) for one in runs)
    return sum(int(one["counts"]["embedded"]) for one in runs) / seconds if seconds else None
