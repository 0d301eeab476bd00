"""What a person sees of a night, and what goes to the logs instead."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from cradle.cli.progress import Redirect, Step, Watch
from cradle.config import Settings
from cradle.errors import InputError, Unavailable
from cradle.outcomes import outcome

DAY = date(2024, 3, 30)


def task(verb: str, source: str | None = None, index: int = -1, tries: int = 1) -> SimpleNamespace:
    operator = SimpleNamespace(op_kwargs={"source": source} if source else {})
    return SimpleNamespace(
        dag_id="night_demo", run_id="r1", task_id=verb, map_index=index, try_number=tries, max_tries=2, task=operator
    )


def watch(tmp_path: Path, said: list[Step], redirect: Redirect) -> Watch:
    return Watch(Settings(home=tmp_path), "demo", DAY, redirect, said.append)


def test_output_of_a_task_and_its_children_goes_to_the_tasks_own_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[Step] = []
    with Redirect(tmp_path / "night.log") as redirect:
        watching = watch(tmp_path, said, redirect)
        os.write(1, b"chatter of Airflow\n")
        watching.begins(task("ingest", "sales", 0))
        os.write(2, b"a line of the verb\n")
        subprocess.run([sys.executable, "-c", "print('a line of its child')"], check=True)
        watching.ends(task("ingest", "sales", 0), "success")
        redirect.terminal.write("seen\n")
        redirect.terminal.flush()
    os.write(1, b"after\n")
    folder = tmp_path / "airflow/logs/dag_id=night_demo/run_id=r1/task_id=ingest/map_index=0"
    assert (folder / "attempt=1.log").read_text() == "a line of the verb\na line of its child\n"
    assert (tmp_path / "night.log").read_text() == "chatter of Airflow\n"
    assert capfd.readouterr() == ("after\n", "seen\n")


def test_the_terminal_is_given_back_after_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        with Redirect(tmp_path / "night.log"):
            raise InputError("torn")

    with pytest.raises(InputError):
        broken()
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


def test_a_step_tells_what_its_own_verb_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DAG_ID", "night_demo"), ("DAG_RUN_ID", "r1"), ("TASK_ID", "chunk"), ("TRY_NUMBER", "1")):
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    said: list[Step] = []
    with Redirect(tmp_path / "night.log") as redirect:
        watching = watch(tmp_path, said, redirect)
        watching.begins(task("chunk"))
        with outcome(Settings(home=tmp_path), "demo", "chunk", DAY) as noted:
            noted.counts = {"chunks": 19}
        watching.ends(task("chunk"), "success")
    assert [(step.verb, step.state, step.counts) for step in said] == [
        ("chunk", "begins", {}),
        ("chunk", "success", {"chunks": 19}),
    ]
    assert watching.steps == said[1:]


def test_an_error_that_a_later_try_makes_good_is_not_the_nights(tmp_path: Path) -> None:
    said: list[Step] = []
    away, torn, late = Unavailable("away"), InputError("torn"), Unavailable("away for good")
    with Redirect(tmp_path / "night.log") as redirect:
        watching = watch(tmp_path, said, redirect)
        watching.fails(task("ingest", "sales", 0, tries=1), away)
        assert watching.error is away
        watching.ends(task("ingest", "sales", 0, tries=2), "success")
        assert watching.error is None
        watching.fails(task("ingest", "guides", 1), torn)
        watching.fails(task("ingest", "notes", 2, tries=3), late)
    assert watching.error is torn
    assert [step.state for step in said] == ["retry", "success", "failed", "failed"]
