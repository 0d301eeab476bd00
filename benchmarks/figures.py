"""From raw runs to figures: medians, spread, ratios within rounds, exponents of growth, goals."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.stage import Goal

Run = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """The median of some runs and how far they lie apart."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Verdict:
    """A goal, the value that stands against it, and whether it is reached."""

    goal: Goal
    value: float
    reached: bool


def value_of(run: Run, figure: str) -> float:
    """Return a figure of one run: seconds, peak_mb, or one that it returned itself."""
    return float(run[figure] if figure in run else run["figures"][figure])


def spread(runs: list[Run], variant: str, figure: str = "seconds") -> Spread:
    """Return the spread of a figure over the runs of a variant."""
    return Spread.of([value_of(run, figure) for run in runs if run["variant"] == variant])


def ratio(runs: list[Run], above: str, below: str) -> Spread:
    """Return the spread of above ÷ below in seconds, both from the same round."""
    seconds = {(run["round"], run["variant"]): run["seconds"] for run in runs}
    rounds = sorted({number for number, _ in seconds})
    return Spread.of([seconds[number, above] / seconds[number, below] for number in rounds])


def exponent(amounts: list[int], values: list[float]) -> float:
    """Return b of the law value = a · amount^b that fits best (least squares over the logarithms)."""
    logs = [(math.log(amount), math.log(max(value, 1e-9))) for amount, value in zip(amounts, values, strict=True)]
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope


def judge(goal: Goal, runs: list[Run], ours: str) -> Verdict:
    """Hold the runs against a goal."""
    ours = goal.way or ours
    if goal.peer is not None:
        above, below = (goal.peer, ours) if goal.at_least is not None else (ours, goal.peer)
        value = ratio(runs, above, below).median
    else:
        assert goal.figure is not None
        value = spread(runs, ours, goal.figure).median
    enough = goal.at_least is None or value >= goal.at_least
    return Verdict(goal, value, enough and (goal.at_most is None or value <= goal.at_most))
