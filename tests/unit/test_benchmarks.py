"""What the benchmarks make of raw runs, and that they refuse to compare what differs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import measure as runner
from benchmarks import table
from benchmarks.figures import exponent, judge, ratio, spread
from benchmarks.stage import Facts, Goal, Stage, Unequal, Variant, same

POSITIVE = st.floats(0.01, 1000)


def run(number: int, variant: str, seconds: float, **figures: float) -> dict[str, Any]:
    """Return a raw run as the runner keeps it."""
    return {"round": number, "variant": variant, "seconds": seconds, "peak_mb": 10.0, "amount": 7, "figures": figures}


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=7))
def test_a_ratio_is_taken_within_rounds_so_a_slow_round_tells_nothing(pairs: list[tuple[float, float]]) -> None:
    runs = [run(at, "ours", ours) for at, (ours, _) in enumerate(pairs)]
    runs += [run(at, "peer", ours * 3) for at, (ours, _) in enumerate(pairs)]
    found = ratio(runs, "peer", "ours")
    assert (found.low, found.median, found.high) == pytest.approx((3, 3, 3))
    assert judge(Goal("peer", at_least=2.9), runs, "ours").reached
    assert not judge(Goal("peer", at_least=3.1), runs, "ours").reached
    assert judge(Goal("peer", at_most=0.34), runs, "ours").reached
    assert not judge(Goal("peer", at_most=0.3), runs, "ours").reached


@given(POSITIVE, st.floats(0, 3))
def test_the_exponent_of_a_power_law_is_found(factor: float, power: float) -> None:
    amounts = [100, 400, 1600]
    assert exponent(amounts, [factor * one**power for one in amounts]) == pytest.approx(power, abs=1e-6)


def test_a_goal_may_judge_another_way_than_the_first() -> None:
    runs = [run(0, "whole", 100), run(0, "small", 8), run(0, "peer", 50)]
    verdict = judge(Goal("whole", way="small", at_most=0.1), runs, "whole")
    assert (verdict.value, verdict.reached) == (pytest.approx(0.08), True)
    assert judge(Goal("peer", at_most=1.0), runs, "whole").value == pytest.approx(2.0)


def test_a_figure_of_a_run_is_held_against_its_goal() -> None:
    runs = [run(at, "ours", 1, recall=value) for at, value in enumerate((0.98, 0.995, 0.999))]
    assert spread(runs, "ours", "recall").median == 0.995
    assert judge(Goal(figure="recall", at_least=0.99), runs, "ours").reached
    assert not judge(Goal(figure="peak_mb", at_most=9), runs, "ours").reached


def test_results_that_differ_are_not_compared() -> None:
    same({"ours": {"rows": 3, "digest": "a"}, "peer": {"rows": 3}}, "rows", "digest")
    with pytest.raises(Unequal, match="differ in rows"):
        same({"ours": {"rows": 3}, "peer": {"rows": 2}}, "rows")


def _hold(inputs: Path, scratch: Path) -> Facts:
    assert (inputs / "given").read_text(encoding="utf-8") == "5"
    assert list(scratch.iterdir()) == []
    held = bytearray(b"x" * (64 << 20))
    until = time.monotonic() + 5 * runner.EVERY
    while time.monotonic() < until:
        held[0] += 1
        held[0] %= 7
    return {"rows": 5, "figures": {"bytes": len(held)}}


def _prepare(folder: Path, amount: int) -> None:
    (folder / "given").write_text(str(amount), encoding="utf-8")


SAMPLE = Stage(
    name="sample",
    title="A sample",
    unit="rows",
    sizes={"smoke": 5},
    prepare=_prepare,
    variants=(Variant("ours", "Ours", _hold), Variant("peer", "The peer", lambda _, __: {"rows": 5})),
    check=lambda facts: same(facts, "rows"),
    goals=(Goal("peer", at_least=1.0), Goal(figure="peak_mb", at_most=4096)),
)
STAGES = (SAMPLE,)


def test_each_run_is_a_process_of_its_own_whose_memory_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHILD", ["-c", CHILD])
    told: list[str] = []
    runs = runner.measure(SAMPLE, 5, 2, tmp_path, told.append)
    assert [one["variant"] for one in runs] == ["ours", "peer", "peer", "ours"]
    ours = [one for one in runs if one["variant"] == "ours"]
    assert all(one["peak_mb"] > 64 and one["figures"] == {"bytes": 64 << 20} for one in ours)
    machine = {"cores": 2, "processor": "some", "memory_gib": 8, "load_at_start": 0.1, "code": "abc"}
    result = {"stage": "sample", "size": "reduced", "amount": 5, "day": "2026-01-01", "machine": machine, "runs": runs}
    text = table.page([(SAMPLE, result)])
    assert "## A sample: 5 rows" in text
    assert "The peer ÷ ours: " in text
    assert "**not reached**" in text  # doing nothing is faster than holding memory
    assert "| A sample | 5 rows | peak mb |" in table.summary([(SAMPLE, result)])


CHILD = """
import benchmarks.stages, tests.unit.test_benchmarks as here
benchmarks.stages.stage_named = lambda name: here.SAMPLE
import benchmarks.child
benchmarks.child.stage_named = benchmarks.stages.stage_named
benchmarks.child.main()
"""


def test_the_pages_stand_as_the_kept_results_say() -> None:
    kept = table.results()
    assert f"{table.BEGIN}\n\n{table.page(kept)}\n\n{table.END}" in table.PAGE.read_text(encoding="utf-8")
    assert f"{table.BEGIN}\n\n{table.summary(kept)}\n\n{table.END}" in table.README.read_text(encoding="utf-8")
