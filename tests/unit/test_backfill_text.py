"""A preview as text, and its estimate from what earlier runs took."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

from cradle import names
from cradle.backfill import DayPreview, Preview, as_text
from cradle.backfill.estimate import minutes
from cradle.backfill.told import SeenFile, SourcePreview, TablePreview, Totals
from cradle.config import Settings

DAY = date(2024, 3, 1)


def day(number: int, **more: object) -> DayPreview:
    """Return a day on which much happens."""
    file = SeenFile(path=f"orders/{number}.csv", bytes=1200, logical_date=DAY)
    sources = tuple(
        SourcePreview(source=name, state="present", claimed=(file,), in_force=1, rows_loaded=12, rows_rejected=1)
        for name in ("orders", "notes")
    )
    tables = tuple(
        TablePreview(table=f"marts.table_{at}", rows_before=None, rows_after=at, snapshots=1) for at in range(8)
    )
    fields = {"epoch": 1, "sources": sources, "tables": tables, "chunks_after": 12, "texts_to_embed": 60}
    return DayPreview(logical_date=DAY + timedelta(days=number), rebuild=False, **{**fields, "image": "new", **more})


def test_a_week_fits_on_a_screen_and_its_columns_stand_under_each_other() -> None:
    days = [day(number) for number in range(6)] + [day(6, fails="InputError: " + "x" * 400, image="none")]
    totals = Totals(snapshots=56, texts_to_embed=420, images=6, bytes=16_800, minutes=2.4)
    stale = tuple(DAY + timedelta(days=number) for number in range(30))
    told = Preview(
        customer="shop",
        environment="dev_analytics",
        first=DAY,
        last=DAY + timedelta(days=6),
        days=tuple(days),
        makes_stale=stale,
        stale_after=stale,
        rebuilds=None,
        totals=totals,
    )
    lines = as_text(told).splitlines()
    assert len(lines) <= 40
    table = lines[2:10]
    assert {line.index("image") if "image" in line else line.index("new") for line in table[:7]} == {
        table[0].index("image")
    }
    assert table[-1].endswith("would fail")
    assert "about 2 minutes" in as_text(told)
    assert " and 20 more" in as_text(told)


def test_the_estimate_is_the_usual_time_of_each_verb_and_the_rate_of_embedding(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, customers=tmp_path)
    assert minutes(settings, "shop", [day(0)]) is None
    for number in range(3):
        folder = settings.outcomes("shop") / str(DAY + timedelta(days=number))
        folder.mkdir(parents=True)
        for verb in names.NIGHT:
            counts = {"embedded": 100} if verb == "embed" else {}
            inputs = {"sources": ["orders", "notes"]} if verb == "ingest" else {}
            told = {"verb": verb, "ok": True, "seconds": 10.0 * (number + 1), "counts": counts, "inputs": inputs}
            (folder / f"{verb}-1.json").write_text(json.dumps(told))
        (folder / "build-2.json").write_text(json.dumps({"verb": "build", "ok": False, "seconds": 999, "counts": {}}))
    # six verbs of 20 s, two sources of 10 s, 60 texts at 300 in 60 s: 152 s; without index, bake and texts 100 s
    assert minutes(settings, "shop", [day(0)]) == 2.5
    assert minutes(settings, "shop", [day(0), day(1, image="same", texts_to_embed=0)]) == 4.2
