"""Writes what was measured into the docs: a section per stage, and one table for the README.

Run:  python -m benchmarks.table
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.figures import Spread, Verdict, exponent, judge, ratio, spread
from benchmarks.stage import SIZES, Stage
from benchmarks.stages import all_stages
from cradle.config import PROJECT

RESULTS = PROJECT / "benchmarks" / "results"
PAGE = PROJECT / "docs" / "performance.md"
README = PROJECT / "README.md"
BEGIN, END = "<!-- figures: written by the benchmarks -->", "<!-- end of figures -->"
Result = dict[str, Any]


def main() -> None:
    """Write both places anew from the results that are kept."""
    write(PAGE, page(results()))
    write(README, summary(results()))


def results(folder: Path = RESULTS) -> list[tuple[Stage, Result]]:
    """Return the kept results, in the order of the stages, the largest size of each first; growth last."""
    stages, order = all_stages(), [*reversed(SIZES), "growth"]
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    known = [one for one in kept if one["stage"] in stages and one["size"] != "smoke"]
    known.sort(key=lambda one: (list(stages).index(one["stage"]), order.index(one["size"])))
    return [(stages[one["stage"]], one) for one in known]


def write(path: Path, text: str) -> None:
    """Put a text between the two marks of a page."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def page(found: list[tuple[Stage, Result]]) -> str:
    """Return the sections of all stages."""
    return "\n\n".join(_growth(stage, one) if one["size"] == "growth" else _section(stage, one) for stage, one in found)


def summary(found: list[tuple[Stage, Result]]) -> str:
    """Return one line for each goal, from the largest size that was measured."""
    lines = ["| stage | amount | figure | measured | asked |", "|---|---|---|---|---|"]
    shown = set()
    for stage, one in found:
        if stage.name in shown or one["size"] == "growth":
            continue
        shown.add(stage.name)
        for verdict in _verdicts(stage, one):
            what = _subject(stage, verdict)
            amount = f"{one['amount']:,} {stage.unit}"
            reached = _asked(verdict) + ("" if verdict.reached else ", **not reached**")
            lines.append(f"| {stage.title} | {amount} | {what} | {_number(verdict.value)} | {reached} |")
    return "\n".join(lines)


def _section(stage: Stage, one: Result) -> str:
    runs, ours = one["runs"], stage.variants[0].name
    names = {run["variant"] for run in runs}
    lines = [f"## {stage.title}: {one['amount']:,} {stage.unit}", ""]
    lines += [f"{stage.note}", ""] if stage.note else []
    lines += ["| way | seconds | ÷ ours | peak MB | figures |", "|---|---|---|---|---|"]
    for variant in stage.variants:
        if variant.name not in names:
            continue
        times = ratio(runs, variant.name, ours) if variant.name != ours else None
        first = next(run for run in runs if run["variant"] == variant.name)
        figures = [f"{name} {_spread(spread(runs, variant.name, name))}" for name in first["figures"]]
        lines.append(
            f"| {variant.title} | {_spread(spread(runs, variant.name))} | {_spread(times) if times else '1'} | "
            f"{spread(runs, variant.name, 'peak_mb').high:,.0f} | {'; '.join(figures) or '–'} |"
        )
    for verdict in _verdicts(stage, one):
        told = "reached" if verdict.reached else "**not reached**"
        lines += ["", f"{_subject(stage, verdict)}: {_number(verdict.value)}; asked: {_asked(verdict)}; {told}."]
    return "\n".join([*lines, "", _machine(one)])


def _growth(stage: Stage, one: Result) -> str:
    ours = stage.variants[0].name
    amounts = sorted({run["amount"] for run in one["runs"]})
    rows = [[run for run in one["runs"] if run["amount"] == amount] for amount in amounts]
    seconds = [spread(runs, ours) for runs in rows]
    peaks = [spread(runs, ours, "peak_mb") for runs in rows]
    lines = [f"## {stage.title}: how cost grows", "", f"| {stage.unit} | seconds | peak MB |", "|---|---|---|"]
    for amount, took, peak in zip(amounts, seconds, peaks, strict=True):
        lines.append(f"| {amount:,} | {_spread(took)} | {peak.high:,.0f} |")
    power = exponent(amounts, [one.median for one in seconds])
    memory = exponent(amounts, [one.high for one in peaks])
    lines += ["", f"Seconds grow with the power {power:.2f} of the amount, memory with {memory:.2f}.", ""]
    return "\n".join([*lines, _machine(one)])


def _verdicts(stage: Stage, one: Result) -> list[Verdict]:
    measured = {run["variant"] for run in one["runs"]}
    goals = [goal for goal in stage.goals if goal.peer is None or goal.peer in measured]
    return [judge(goal, one["runs"], stage.variants[0].name) for goal in goals]


def _subject(stage: Stage, verdict: Verdict) -> str:
    goal = verdict.goal
    if goal.peer is None:
        return str(goal.figure).replace("_", " ")
    titles = {one.name: one.title for one in stage.variants}
    peer, ours = titles[goal.peer], titles[goal.way] if goal.way else "ours"
    return f"{peer} ÷ {ours}" if goal.at_least is not None else f"{ours} ÷ {peer}"


def _asked(verdict: Verdict) -> str:
    goal = verdict.goal
    return f"≥ {goal.at_least:g}" if goal.at_least is not None else f"≤ {goal.at_most:g}"


def _spread(one: Spread) -> str:
    if one.count == 1 or one.low == one.high:
        return _number(one.median)
    return f"{_number(one.median)} ({_number(one.low)}–{_number(one.high)})"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _machine(one: Result) -> str:
    found = one["machine"]
    rounds = len({(run["amount"], run["round"]) for run in one["runs"]}) // len({r["amount"] for r in one["runs"]})
    return (
        f"n = {rounds}, by turns; {found['cores']} cores of {found['processor']}, {found['memory_gib']} GiB; load at "
        f"start {found['load_at_start']}; code {found['code']}; {one['day']}."
    )


if __name__ == "__main__":
    main()
