"""What a backfill would change is told exactly, and telling it changes nothing."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from cradle.backfill import as_text, preview, scratch
from cradle.catalog import open_lake, tables
from cradle.catalog.pins import load
from cradle.config import Settings
from tests.backfills import SHOP, START, Shop, agree, assert_happens

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
NEXT = START + timedelta(days=1)


def everything(settings: Settings) -> dict[str, str]:
    """Return every file of the home with its digest, and where every table of the catalog stands."""
    files = {
        str(path.relative_to(settings.home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in settings.home.rglob("*")
        if path.is_file()
    }
    lake = open_lake(settings, "shop")
    pointers = {}
    for layer in ("raw", "staging", "marts", "vectors", "ops"):
        for table in tables(lake, layer):
            loaded = load(lake, table)
            assert loaded is not None
            pointers[table] = loaded.metadata_location
    return {**files, **pointers}


@pytest.mark.timeout(1800)
def test_what_is_told_is_what_happens_and_telling_it_writes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "KEYS_AGE", -1)  # keys to real files are renewed before each day
    shop = Shop(settings, seed=1)
    if settings.catalog != "embedded":
        open_lake(settings, "shop")  # provisions the customer
    told = preview(settings, "shop", START, START)  # of a customer whose lake was never made
    assert not settings.home.joinpath("lake").exists()
    assert not settings.files("shop").exists()
    assert not settings.outcomes("shop").exists()
    assert (told.days[0].image, told.totals.minutes) == ("new", None)
    assert "no earlier run" in as_text(told)
    assert_happens(settings, told)

    shop.orders(NEXT)
    broken = shop.break_file(NEXT)
    before = everything(settings)
    told = preview(settings, "shop", START, NEXT)
    assert everything(settings) == before
    assert (told.days[0].image, told.days[0].snapshots, told.days[0].texts_to_embed) == ("unchanged", 0, 0)
    assert "zz_broken.csv: " in (told.days[1].fails or "")
    assert "would fail" in as_text(told)
    assert_happens(settings, told)

    (settings.customers / "shop.yaml").write_text(SHOP % 999)
    told = agree(settings, NEXT, NEXT)
    assert "EpochRefused: " in (told.days[0].fails or "")
    assert "max_chars" in (told.days[0].fails or "")

    shop.write_yaml()
    broken.unlink()
    folder = settings.inbox("shop") / f"orders/{NEXT}"
    told = agree(settings, NEXT, NEXT)
    assert told.days[0].image == "new"
    assert told.totals.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert told.totals.minutes

    (settings.customers / "shop.yaml").write_text(SHOP % 999)  # counts for tonight only
    shop.orders(START)
    shop.note(START)
    assert_a_correction_is_told(settings)


def assert_a_correction_is_told(settings: Settings) -> None:
    """The newest date would be stale; its rebuild is told as well, and refused while the YAML is changed."""
    told = preview(settings, "shop", START, START)
    assert (told.rebuilds, told.stale_after) == (NEXT, (NEXT,))
    assert "EpochRefused" in (told.days[1].fails or "")
    settings = settings.model_copy(update={"epoch": 1})
    told = agree(settings, START, START)
    assert (told.rebuilds, told.stale_after) == (NEXT, ())
    assert told.days[1].rebuild
    text = as_text(told)
    assert f"{NEXT} (rebuild)" in text
    assert f"Makes stale: {NEXT}" in text
    assert len(text.splitlines()) < 20
