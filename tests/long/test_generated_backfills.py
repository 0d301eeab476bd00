"""Generated backfills: what the preview tells equals what then happens, in every case."""

from __future__ import annotations

import random

import pytest

from cradle.config import Settings
from tests.backfills import START, Shop, agree, cases

pytestmark = pytest.mark.long
ROUNDS = 2  # each kind of case so often, in another order


@pytest.mark.timeout(2700)
def test_a_previews_predictions_equal_what_then_happens(settings: Settings) -> None:
    seed = random.randrange(1_000_000)
    shop = Shop(settings, seed)
    agree(settings, START, START)
    todo = [case for _ in range(ROUNDS) for case in shop.draw.sample(cases(shop), len(cases(shop)))]
    for number, (name, change) in enumerate(todo, 1):
        shop.story.append(f"case {number}: {name}")
        first, last = change()
        shop.story.append(f"backfill {first} to {last}")
        try:
            told = agree(settings, first, last)
            if name == "repeated" and not told.stale_after:
                again = agree(settings, first, last)
                assert (again.totals.snapshots, again.totals.images, again.makes_stale) == (0, 0, ())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: " + "; ".join(shop.story)) from error
    print(f"seed {seed}, {len(todo)} cases")  # noqa: T201
