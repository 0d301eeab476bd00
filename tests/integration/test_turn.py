"""Whose turn it is: one run of a customer between ingest and release, whatever starts, waits or dies."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from cradle.catalog.turn import end_turn, take_turn, terminal_night, terminal_night_runs, turn_of
from cradle.config import PROJECT, Settings

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
DAY = date(2024, 4, 1)

RIVAL = """
import json, sys
from datetime import date
from cradle.catalog.turn import take_turn
from cradle.config import Settings
settings, run = Settings.model_validate(json.loads(sys.argv[1])), sys.argv[2]
sys.stdin.readline()
sys.stdout.write(str(take_turn(settings, "demo", run, date(2024, 4, 1), lambda _: True) is None))
"""


def test_of_many_that_ask_at_once_one_gets_it(settings: Settings) -> None:
    content = json.dumps(settings.model_dump(mode="json"))

    def start(number: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RIVAL, content, f"night_demo/{number}"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=PROJECT, **pipes)  # type: ignore[call-overload, no-any-return]

    rivals = [start(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda one: one.communicate("go\n")[0], rivals))
    assert sorted(said) == ["False", "False", "False", "True"]
    holder = turn_of(settings, "demo")
    assert holder is not None
    assert holder.run == f"night_demo/{said.index('True')}"


def test_it_goes_on_when_given_back_or_when_its_run_has_ended(settings: Settings) -> None:
    assert take_turn(settings, "demo", "a", DAY, lambda _: True) is None
    assert take_turn(settings, "demo", "a", DAY, lambda _: True) is None, "a run keeps its turn from task to task"
    refused = take_turn(settings, "demo", "b", DAY, lambda _: True)
    assert refused is not None
    assert refused.run == "a"
    end_turn(settings, "demo", "b")
    assert turn_of(settings, "demo") is not None, "only its own run gives a turn back"
    end_turn(settings, "demo", "a")
    assert take_turn(settings, "demo", "b", DAY, lambda _: True) is None
    assert take_turn(settings, "demo", "c", DAY, lambda turn: turn.run != "b") is None, "b has ended"


def test_customers_and_environments_do_not_wait_for_each_other(settings: Settings) -> None:
    other = settings.model_copy(update={"environment": "staging_analytics"})
    for found, customer in ((settings, "demo"), (settings, "eaton"), (other, "demo")):
        assert take_turn(found, customer, f"{found.environment} {customer}", DAY, lambda _: True) is None


def test_a_night_in_a_terminal_is_alive_as_long_as_its_process(settings: Settings) -> None:
    assert not terminal_night_runs(settings, "demo")
    with terminal_night(settings, "demo"):
        assert terminal_night_runs(settings, "demo")
        assert not terminal_night_runs(settings, "eaton")
    assert not terminal_night_runs(settings, "demo")
