"""What a benchmark is made of: a stage, the ways to do its work, and what ours has to reach beside them.

Each module of this package that measures a stage names it as `STAGES`. The first variant of a stage is ours; all others
are what people would use instead, or a limit that nothing can pass.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
SIZES = ("smoke", "reduced", "full")


class Unequal(Exception):
    """The variants of a stage did not give the same result, so that their times can't be compared."""


def nothing(*_: Any) -> None:
    """Do nothing."""


def imported(*modules: str) -> None:
    """Import modules before the clock starts."""
    for module in modules:
        importlib.import_module(module)


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Later:
    """A fact that is computed when it is written down, after the clock has stopped."""

    def __init__(self, compute: Callable[[], object]) -> None:
        self._compute = compute

    def __str__(self) -> str:
        """Return the fact as text."""
        return str(self._compute())


@dataclass(frozen=True)
class Variant:
    """One way to do the work of a stage; each run is a process of its own.

    Attributes:
        run: (folder of inputs, empty folder) → facts that are compared; `figures` among them, name → number, are kept
            with the time. Only this is timed.
        setup: the same two folders; prepares this one run.
        load: imports what `run` needs; its seconds are told beside those of the run.
        needs: a program without which it can't run; where that is not installed, the others are measured without it.
    """

    name: str
    title: str
    run: Callable[[Path, Path], Facts]
    setup: Callable[[Path, Path], object] = nothing
    load: Callable[[], object] = nothing
    needs: str | None = None


@dataclass(frozen=True)
class Goal:
    """What ours has to reach: against a peer's time, or by a figure of its own.

    With a peer, `at_least` bounds peer ÷ ours and `at_most` ours ÷ peer, both as the median over rounds. With a figure
    (one that the run returned, or `seconds` or `peak_mb`), they bound its median.

    Attributes:
        way: the variant of ours that is judged; none: the first.
    """

    peer: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    figure: str | None = None
    way: str | None = None


@dataclass(frozen=True)
class Stage:
    """A stage of the factory and its peers.

    Attributes:
        sizes: smoke, reduced, full → the amount of work, in `unit`; it is not measured at a size that is not there.
        prepare: (folder, amount) makes the inputs, once for all runs.
        check: variant → facts of one round; raises Unequal when they differ where they must not.
        growth: the amount that is measured at 1 ×, 4 × and 16 × to see how cost grows; none: not measured.
    """

    name: str
    title: str
    unit: str
    sizes: dict[str, int]
    prepare: Callable[[Path, int], object]
    variants: tuple[Variant, ...]
    check: Callable[[dict[str, Facts]], object] = nothing
    goals: tuple[Goal, ...] = ()
    growth: int | None = None
    note: str = ""


def same(facts: dict[str, Facts], *names: str) -> None:
    """Raise Unequal unless all variants that tell one of these facts tell the same.

    Raises:
        Unequal: two differ.
    """
    for name in names:
        told = {variant: found[name] for variant, found in facts.items() if name in found}
        if len({str(value) for value in told.values()}) > 1:
            raise Unequal(f"the variants differ in {name}: {told}. Mend the one that is wrong, then measure again.")
