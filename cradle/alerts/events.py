"""What a night tells: a run failed, is late, rejected too much, or is well (again).

Flow: run of Airflow → failed verbs in the outcomes → alarms, one per cause
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from cradle import outcomes
from cradle.alerts.alarm import NIGHT, Alarm, normalised, run_link, server_of
from cradle.alerts.tell import Told, nights_well, raise_alarms
from cradle.config import Settings
from cradle.customers import load_customer

READ_LOG_BYTES = 64_000


def run_failed(
    settings: Settings,
    customer: str,
    logical_date: date,
    *,
    run_id: str,
    dag_id: str,
    log_tail: str | None = None,
    now: datetime | None = None,
) -> Told:
    """Tell that a run has failed: one alarm per cause among its failed verbs.

    Args:
        log_tail: the end of the failed task's log; None: it is looked up in Airflow's folder of logs.
    """
    failed = outcomes.failures(settings, customer, logical_date, run_id)
    counts = _counts(outcomes.attempts(settings, customer, logical_date), run_id)
    link = run_link(settings, dag_id, run_id)
    alarms = [
        Alarm(
            kind="failed",
            customer=customer,
            environment=settings.environment,
            logical_date=logical_date,
            link=link,
            counts=counts,
            log=log_tail if log_tail is not None else _log(settings, one),
            **_told_by(settings, one),
        )
        for one in failed
    ]
    return raise_alarms(
        settings, alarms or [_silent(settings, customer, logical_date, link, counts, log_tail or "")], now
    )


def _told_by(settings: Settings, failed: dict[str, Any]) -> dict[str, str]:
    error, verb = failed["error"], failed["verb"]
    away = error["type"] == "Unavailable"
    server = server_of(settings, error["message"]) if away else ""
    return {
        "what": f"{server} is away ({verb} failed)" if server else f"{verb} failed ({error['type']})",
        "text": f"{verb} failed: {error['type']}: {error['message']}",
        "cause": f"{verb} {error['type']} {normalised(error['message'])}",
        "server": server,
    }


def _silent(
    settings: Settings, customer: str, logical_date: date, link: str, counts: dict[str, str], log_tail: str
) -> Alarm:
    return Alarm(
        kind="failed",
        customer=customer,
        environment=settings.environment,
        logical_date=logical_date,
        what="the run failed, and no step said why",
        text=(
            f"The run of {customer} for {logical_date} failed, and no step left an outcome: a process was killed, for "
            f"want of memory for instance, or failed before its step began. Read the task's log, then run "
            f"`cradle night {customer} --date {logical_date}`."
        ),
        cause="silent",
        link=link,
        counts=counts,
        log=log_tail,
    )


def deadline_missed(
    settings: Settings, customer: str, logical_date: date, *, run_id: str, dag_id: str, now: datetime | None = None
) -> Told:
    """Tell that a run has not ended within its deadline; it goes on."""
    attempts = outcomes.attempts(settings, customer, logical_date)
    ended = [one["verb"] for one in attempts if one["ok"]]
    last = f"the last step that ended is {ended[-1]}" if ended else "no step has ended yet"
    alarm = Alarm(
        kind="late",
        customer=customer,
        environment=settings.environment,
        logical_date=logical_date,
        what="the night is late",
        text=(
            f"The night of {customer} for {logical_date} has not ended within its deadline, and goes on: {last}. "
            f"Look at the run, then at `cradle status {customer}`."
        ),
        cause="deadline",
        link=run_link(settings, dag_id, run_id),
        counts=_counts(attempts, run_id),
    )
    return raise_alarms(settings, [alarm], now)


def rejects_above_limit(
    settings: Settings,
    customer: str,
    logical_date: date,
    rejects: int,
    *,
    run_id: str,
    dag_id: str,
    now: datetime | None = None,
) -> Told | None:
    """Tell that a night rejected more than `operation.max_rejects` allows, or no more so; None: there is no limit."""
    limit = load_customer(settings.customers, customer).operation.max_rejects
    if limit is None:
        return None
    if rejects <= limit:
        return nights_well(settings, [(customer, logical_date)], ("rejects",), now)
    alarm = Alarm(
        kind="rejects",
        customer=customer,
        environment=settings.environment,
        logical_date=logical_date,
        what=f"{rejects:,} rejects, {limit:,} are allowed",
        text=(
            f"The night of {customer} for {logical_date} rejected {rejects:,} rows and cells, and at most {limit:,} "
            f"are allowed (operation.max_rejects). All others were accepted. Which and why stands in the table "
            f"ops.rejects. Raise the limit, or ask the customer for a correction, then run "
            f"`cradle night {customer} --date {logical_date}`."
        ),
        cause="rejects",
        link=run_link(settings, dag_id, run_id),
    )
    return raise_alarms(settings, [alarm], now)


def broken_file(settings: Settings, customer: str, said: str) -> Alarm:
    """Return the alarm of a customer whose YAML can't be used: its nights can't run."""
    return Alarm(
        kind="broken file",
        customer=customer,
        environment=settings.environment,
        logical_date=None,
        what="its YAML is broken, no night can run",
        text=f"{said}\nPut it right, then run `cradle doctor {customer}`.",
        cause=normalised(said),
    )


def run_well(settings: Settings, customer: str, logical_date: date, *, now: datetime | None = None) -> Told:
    """Tell whoever was alarmed that the night is well again; a run without an image leaves a missing one missing."""
    attempts = outcomes.attempts(settings, customer, logical_date)
    ended = [one["verb"] for one in attempts if one["ok"]]
    kinds = NIGHT if "verify" in ended else tuple(kind for kind in NIGHT if kind != "no image")
    return nights_well(settings, [(customer, logical_date)], kinds, now)


def _counts(attempts: list[dict[str, Any]], run_id: str) -> dict[str, str]:
    """Return what each verb that ended counted, as people read it."""
    told = {}
    for one in attempts:
        if one["ok"] and (one.get("run") or {}).get("run_id") in (run_id, None):
            numbers = [(name, value) for name, value in one["counts"].items() if isinstance(value, int)]
            told[one["verb"]] = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in numbers) or "done"
    return told


def _log(settings: Settings, failed: dict[str, Any]) -> str:
    """Return the end of a failed task's log where Airflow writes it by default; empty where it lies elsewhere."""
    run = failed.get("run") or {}
    if "task_id" not in run:
        return ""
    folder = settings.airflow() / "logs" / f"dag_id={run.get('dag_id')}" / f"run_id={run['run_id']}"
    paths = (folder / f"task_id={run['task_id']}").rglob(f"attempt={run.get('try_number', 1)}.log")
    ends = [_end(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]
    # A mapped task has one log for each of its parts: the one that tells of this error is wanted.
    ends.sort(key=lambda end: failed["error"]["type"] in end)
    return ends[-1] if ends else ""


def _end(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - READ_LOG_BYTES))
        return stream.read().decode("utf-8", errors="replace")
