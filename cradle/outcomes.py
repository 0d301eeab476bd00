"""One small JSON object per attempt of a verb: who, what, counts, seconds, error.

Written beside the lake and not through the catalog, so that a failure is recorded even when the catalog is down.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cradle import __version__
from cradle.config import Settings, airflow_run
from cradle.errors import Unavailable, of_a_server
from cradle.files import write_whole
from cradle.log import get
from cradle.names import NIGHT

UNDATED = "undated"  # folder of what belongs to no date
log = get("outcomes")


@dataclass
class Outcome:
    """What a running verb tells about itself; fill the dictionaries."""

    verb: str
    inputs: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def outcome(settings: Settings, customer: str, verb: str, logical_date: date | None) -> Iterator[Outcome]:
    """Record one attempt of a verb, whether it ends well or not."""
    record = Outcome(verb)
    started, clock = datetime.now(UTC), time.monotonic()
    log.info(f"{verb} starts", customer=customer, date=str(logical_date or ""))
    error: BaseException | None = None
    try:
        yield record
    except BaseException as raised:
        error = raised
        if settings.catalog != "embedded" and of_a_server(raised):
            error = Unavailable(
                f"{verb} of {customer}: {type(raised).__name__}: {' '.join(str(raised).split())[:400]}. "
                f"Nothing is half done. Run `cradle doctor {customer}` to see which server is meant, then the same "
                f"command again."
            )
            raise error from raised
        raise
    finally:
        seconds = round(time.monotonic() - clock, 3)
        _write(settings, record, customer, logical_date, started, seconds, error)
        ending = log.error if error else log.info
        ending(f"{verb} {'failed' if error else 'ends'}", customer=customer, seconds=seconds, **record.counts)


def _write(
    settings: Settings,
    record: Outcome,
    customer: str,
    logical_date: date | None,
    started: datetime,
    seconds: float,
    error: BaseException | None,
) -> None:
    day = str(logical_date or UNDATED)
    attempt = f"{started:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
    target = settings.outcomes(customer) / day / f"{record.verb}-{attempt}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "attempt": attempt,
        "customer": customer,
        "environment": settings.environment,
        "verb": record.verb,
        "logical_date": day if logical_date else None,
        "started_at": started.isoformat(),
        "seconds": seconds,
        "ok": error is None,
        "error": None if error is None else {"type": type(error).__name__, "message": str(error)},
        "run": airflow_run(),
        "inputs": record.inputs,
        "counts": record.counts,
        "outputs": record.outputs,
        "code_version": __version__,
    }
    write_whole(target, json.dumps(content, ensure_ascii=False, default=str))


def last(settings: Settings, customer: str, logical_date: date | None = None) -> dict[str, dict[str, Any]]:
    """Return the newest outcome of each verb, of one date or of all."""
    folder = settings.outcomes(customer)
    found: dict[str, dict[str, Any]] = {}
    for path in folder.glob(f"{logical_date or '*'}/*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        known = found.get(content["verb"])
        if known is None or known["started_at"] < content["started_at"]:
            found[content["verb"]] = content
    return found


def attempts(settings: Settings, customer: str, logical_date: date | None) -> list[dict[str, Any]]:
    """Return every attempt of every verb of one date, oldest first; None: those that belong to no date."""
    folder = settings.outcomes(customer) / str(logical_date or UNDATED)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda one: one["started_at"])


def failures(settings: Settings, customer: str, logical_date: date, run_id: str | None = None) -> list[dict[str, Any]]:
    """Return the attempts that failed and that nothing made good.

    Args:
        run_id: only what this run of Airflow did, or, when it left nothing, what no run did; None: whoever did it.
    """
    found = attempts(settings, customer, logical_date)
    if run_id is not None:
        by_run = {wanted: [one for one in found if _run(one).get("run_id") == wanted] for wanted in (run_id, None)}
        found = by_run[run_id] or by_run[None]
    return unrepaired(found)


def unrepaired(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest failure of each step after which neither this step nor a later one of the night ended well."""
    good = [one for one in found if one["ok"]]
    left = [one for one in found if not one["ok"] and not any(_repairs(other, one) for other in good)]
    return list({(one["verb"], _run(one).get("task_id"), *_sources(one)): one for one in left}.values())


def ended_at(attempt: dict[str, Any]) -> datetime:
    """Return when an attempt ended."""
    return datetime.fromisoformat(attempt["started_at"]) + timedelta(seconds=attempt["seconds"])


def _repairs(good: dict[str, Any], bad: dict[str, Any]) -> bool:
    if ended_at(good) <= ended_at(bad):
        return False
    if good["verb"] == bad["verb"]:
        tasks = {_run(one).get("task_id") for one in (good, bad)}
        return set(_sources(bad)) <= set(_sources(good)) and (len(tasks) == 1 or None in tasks)
    order = {verb: at for at, verb in enumerate(NIGHT)}
    return bad["verb"] in order and order.get(good["verb"], -1) > order[bad["verb"]]


def of_run(settings: Settings, customer: str, logical_date: date, run_id: str) -> list[dict[str, Any]]:
    """Return what a run of Airflow did, oldest first."""
    return [one for one in attempts(settings, customer, logical_date) if _run(one).get("run_id") == run_id]


def _run(attempt: dict[str, Any]) -> dict[str, str]:
    return attempt.get("run") or {}


def _sources(attempt: dict[str, Any]) -> tuple[str, ...]:
    return tuple(attempt["inputs"].get("sources", ()))


def recent(settings: Settings, customer: str, dates: int = 30) -> list[dict[str, Any]]:
    """Return all outcomes of the newest logical dates that have any."""
    folders = sorted(path for path in settings.outcomes(customer).glob("*-*-*") if path.is_dir())[-dates:]
    return [json.loads(path.read_text(encoding="utf-8")) for folder in folders for path in folder.glob("*.json")]
