"""What came of a night, for people: a Markdown file, and a shorter note for the page of the run.

Flow: outcomes of the run + states of its tasks → <home>/nights/<customer>/<environment>/<date>/<run>.md
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import names, outcomes
from cradle.config import Settings
from cradle.errors import NightsFailed
from cradle.files import write_whole

NOTE = 1000  # characters; Airflow keeps no longer note


class Summary(BaseModel):
    """A night in words; `failed` names what did not end well, `rejects` counts those of the release."""

    model_config = ConfigDict(frozen=True)

    path: Path
    failed: tuple[str, ...]
    rejects: int | None
    text: str


def summary_path(settings: Settings, customer: str, run: str) -> Path:
    """Return where the summary of a run lies."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run)
    return settings.home / "nights" / customer / settings.environment / f"{name}.md"


def write_summary(settings: Settings, customer: str, logical_date: date, run: str, states: dict[str, str]) -> Summary:
    """Write what the verbs of a run did, and which of its tasks did not end well.

    Args:
        states: task → its state in Airflow.
    """
    made = outcomes.of_run(settings, customer, logical_date, run)
    newest = {_name(one): one for one in made}
    broken = {name: one for name, one in newest.items() if not one["ok"]}
    ill = sorted(task for task, state in states.items() if state in ("failed", "upstream_failed"))
    lines = [
        f"**{customer}, {logical_date}: {'failed' if broken or ill else 'all is well'}** · {settings.environment}",
        "",
        "| verb | seconds | result |",
        "|---|---:|---|",
        *(_line(one) for one in newest.values()),
    ]
    if ill:
        lines += ["", "Not done: " + ", ".join(ill) + "."]
    for name, one in broken.items():
        lines += ["", f"**{name}** ended with {one['error']['type']}:", "", "```text", one["error"]["message"], "```"]
    text = "\n".join(lines) + "\n"
    path = write_whole(summary_path(settings, customer, run), f"# Run {run}\n\n{text}")
    rejects = [one["counts"].get("rejects") for one in made if one["verb"] == "release" and one["ok"]]
    return Summary(path=path, failed=tuple(broken or ill), rejects=rejects[-1] if rejects else None, text=text)


def note_of(settings: Settings, customer: str, run: str) -> str | None:
    """Return a run's summary as a note, cut where Airflow would; None when there is no summary."""
    path = summary_path(settings, customer, run)
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8").partition("\n\n")[2]
    return text if len(text) <= NOTE else text[: NOTE - 2].rstrip() + " …"


def _line(one: dict[str, Any]) -> str:
    counts = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in one["counts"].items() if _counted(value))
    return f"| {_name(one)} | {one['seconds']:.1f} | {counts or ('nothing new' if one['ok'] else '**failed**')} |"


def _name(one: dict[str, Any]) -> str:
    """Return which part of a night an outcome is of: a verb, of some sources or of one layer."""
    parts = [one["verb"], one["inputs"].get("layer", ""), ", ".join(one["inputs"].get("sources", ()))]
    return " ".join(part for part in parts if part)


def _counted(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(value)


def write_fleet(settings: Settings, fleet_run: str, run: str, states: dict[str, str]) -> Path:
    """Write how the nights of a fleet run ended.

    Args:
        fleet_run: id of the run that started them.
        run: id of the run in each customer's DAG.
        states: customer → state of its run.

    Raises:
        NightsFailed: a night did not end well.
    """
    ill = {customer: state for customer, state in states.items() if state != "success"}
    lines = [
        f"**{len(states) - len(ill)} of {len(states)} nights ended well**",
        "",
        "| customer | night |",
        "|---|---|",
    ]
    lines += [
        f"| {customer} | {state} |" for customer, state in sorted(states.items(), key=lambda one: one[0] not in ill)
    ]
    path = write_whole(
        summary_path(settings, names.FLEET, fleet_run), f"# Run {fleet_run}\n\n" + "\n".join(lines) + "\n"
    )
    if ill:
        named = ", ".join(f"{customer} ({state})" for customer, state in sorted(ill.items()))
        raise NightsFailed(
            f"{len(ill)} of {len(states)} nights did not end well: {named}. The others are done. See the run "
            f"{run!r} of each, repair it there, or `cradle status <customer>`."
        )
    return path
