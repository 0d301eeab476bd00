"""How long a backfill may take, from the recorded outcomes of earlier runs."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from cradle import names
from cradle.backfill.told import DayPreview
from cradle.config import Settings
from cradle.outcomes import recent

EVERY_DAY: Final[tuple[names.Verb, ...]] = ("build", "chunk", "release", "verify")
MAKING: Final[tuple[names.Verb, ...]] = ("index", "bake")


def minutes(settings: Settings, customer: str, days: list[DayPreview]) -> float | None:
    """Return the minutes that these days may take; None: no earlier run tells.

    A day takes what each verb usually took, `ingest` once per source; collection and image only where they are new;
    and its texts the time of embedding that many.
    """
    ended = [one for one in recent(settings, customer) if one["ok"]]
    texts, rate = sum(day.texts_to_embed for day in days), _texts_per_second(ended)
    if not any(one["verb"] == "build" for one in ended) or (texts and rate is None):
        return None
    seconds = texts / rate if rate else 0.0
    for day in days:
        verbs = () if day.fails else (*EVERY_DAY, *(MAKING if day.image == "new" else ()))
        seconds += sum(_usual(ended, verb) for verb in verbs) + _usual(ended, "ingest") * len(day.sources)
    return round(seconds / 60, 1)


def _usual(ended: list[dict[str, Any]], verb: names.Verb) -> float:
    taken = [
        float(one["seconds"]) / max(1, len(one["inputs"].get("sources", ()))) for one in ended if one["verb"] == verb
    ]
    return median(taken) if taken else 0.0


def _texts_per_second(ended: list[dict[str, Any]]) -> float | None:
    runs = [one for one in ended if one["verb"] == "embed" and one["counts"].get("embedded")]
    seconds = sum(float(one["seconds"]) for one in runs)
    return sum(int(one["counts"]["embedded"]) for one in runs) / seconds if seconds else None
