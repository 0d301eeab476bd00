"""What a person sees of a night, and where everything else that is printed goes.

Flow: task begins → its output goes to its own log, where Airflow's UI reads it → task ends → one line here
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Any, Literal, Self

from rich.console import Console
from rich.text import Text

from cradle import outcomes
from cradle.config import Settings
from cradle.errors import Retryable
from cradle.names import NIGHT

State = Literal["begins", "success", "skipped", "retry", "failed"]
MARKS: dict[State, tuple[str, str]] = {
    "success": ("✓", "green"),
    "skipped": ("–", "dim"),
    "retry": ("↻", "yellow"),
    "failed": ("✗", "bold red"),
}


@dataclass(frozen=True)
class Step:
    """A task that begins or has ended: what its verb counted, and its seconds."""

    task: str
    source: str | None
    state: State
    seconds: float
    counts: dict[str, Any]

    @property
    def verb(self) -> str:
        """The verb that the task runs, or a part of."""
        return self.task.partition(".")[0]


VERBS = (*NIGHT, "publish")  # the other tasks of a night are Airflow's matter, unless they fail
Says = Callable[[Step], None]


class Redirect:
    """Send whatever this process and its children print to a file; `terminal` still reaches the person."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        self._kept = [(number, os.dup(number)) for number in (1, 2)]
        self.terminal: IO[str] = os.fdopen(os.dup(2), "w", encoding="utf-8")
        self.to(self.target)
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.close()
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in self._kept:
            os.dup2(kept, number)
            os.close(kept)

    def to(self, target: Path) -> None:
        """Append to another file from now on."""
        target.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        with target.open("ab") as file:
            for number, _ in self._kept:
                os.dup2(file.fileno(), number)


class Watch:
    """Airflow's listener: told by every task when it begins and how it ended."""

    def __init__(self, settings: Settings, customer: str, day: date, redirect: Redirect, says: Says) -> None:
        self.steps: list[Step] = []
        self._errors: dict[tuple[str, int], BaseException] = {}
        self.settings, self.customer, self.day = settings, customer, day
        self._redirect, self._says, self._clock = redirect, says, time.monotonic()

    def begins(self, task: Any) -> None:
        """Give the task its log and say that it begins."""
        place = [f"dag_id={task.dag_id}", f"run_id={task.run_id}", f"task_id={task.task_id}"]
        place += [f"map_index={task.map_index}"] if task.map_index >= 0 else []
        place += [f"attempt={task.try_number}.log"]
        self._redirect.to(self.settings.airflow().joinpath("logs", *place))
        self._clock = time.monotonic()
        self._says(Step(task.task_id, self._source(task), "begins", 0.0, {}))

    def ends(self, task: Any, state: State) -> None:
        """Note the step with what its verb counted."""
        counts = self.counted(task) if state == "success" else {}
        step = Step(task.task_id, self._source(task), state, round(time.monotonic() - self._clock, 2), counts)
        if state == "success":
            self._errors.pop((task.task_id, task.map_index), None)
        self.saw(step)
        self._redirect.to(self._redirect.target)

    def saw(self, step: Step) -> None:
        """Note a step that has ended, and say it."""
        self.steps.append(step)
        self._says(step)

    def counted(self, task: Any) -> dict[str, Any]:
        """Return what the verb of a task counted in its run."""
        made = outcomes.of_run(self.settings, self.customer, self.day, task.run_id)
        mine = [one for one in made if one["run"]["task_id"] == task.task_id]
        if task.map_index >= 0:
            mine = [one for one in mine if one["inputs"].get("sources") == [self._source(task)]]
        return dict(mine[-1]["counts"]) if mine else {}

    def fails(self, task: Any, error: Any) -> None:
        """Note a failure; it is the night's unless a later try of the task succeeds."""
        if isinstance(error, BaseException):
            self._errors.setdefault((task.task_id, task.map_index), error)
        again = isinstance(error, Retryable) and task.try_number <= task.max_tries
        self.ends(task, "retry" if again else "failed")

    @property
    def error(self) -> BaseException | None:
        """The first error that no later try has made good."""
        return next(iter(self._errors.values()), None)

    @staticmethod
    def _source(task: Any) -> str | None:
        shown = getattr(task, "rendered_map_index", None)
        source = shown or getattr(getattr(task, "task", None), "op_kwargs", {}).get("source")
        return str(source) if source else None


def silence(step: Step) -> None:
    """Say nothing."""


def lines(redirect: Redirect) -> Says:
    """Say each finished step in one line on the terminal; on a real one, the running step as well."""
    console = Console(file=redirect.terminal, highlight=False, soft_wrap=True)
    status = console.status("")

    def say(step: Step) -> None:
        if step.verb not in VERBS and step.state != "failed":
            return
        name = f"{step.task.replace('.', ' ')} {step.source or ''}".strip()
        if step.state == "begins":
            status.update(f"{name} …")
            status.start()
            return
        status.stop()
        mark, style = MARKS[step.state]
        counts = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in step.counts.items() if value)
        console.print(Text.assemble((f"{mark} ", style), f"{name:<18}{step.seconds:>7.1f} s  ", (counts, "dim")))

    return say
