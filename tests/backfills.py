"""Generated backfills: an inbox changes, a backfill is previewed, the verbs run for real, and both must agree."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cradle import releases
from cradle.backfill import DayPreview, Preview, preview
from cradle.bake import bake
from cradle.catalog import asof_branch, open_lake, resolve, tables
from cradle.catalog.epochs import accept
from cradle.catalog.pins import history_of
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import CradleError
from cradle.indexing import chunk_documents, embed_chunks, index_chunks
from cradle.stale import newest_date_is_stale, stale_dates
from dbt_project.plugins.build import build
from dlt_pipelines.ingest import ingest

START = date(2024, 3, 1)
COLUMNS = """[{name: order_id}, {name: order_date, type: date}, {name: product},
       {name: quantity, type: integer}, {name: amount, type: decimal}]"""
SHOP = f"""
customer: shop
installation:
  chunking: {{max_chars: %d, overlap_chars: 20}}
  sources:
    - {{name: orders, role: sales, format: csv, files: ["orders/*.csv"], delivery: incremental, columns: {COLUMNS}}}
    - {{name: notes, role: documents, format: text, files: ["notes/*.txt"]}}
"""
WORDS = ("bolt", "screw", "washer", "nut", "rivet", "nail", "hinge", "spring", "valve", "gasket")


class Shop:
    """A customer whose inbox a generator changes; every change is one line in `story`."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.draw, self.story = settings, random.Random(seed), list[str]()
        self.max_chars, self.accepted = 300, START
        self.newest = START
        self.write_yaml()
        self.orders(START)
        self.note(START)

    def write_yaml(self) -> None:
        (self.settings.customers / "shop.yaml").write_text(SHOP % self.max_chars)

    def put(self, path: str, text: str) -> None:
        target = self.settings.inbox("shop") / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        self.story.append(f"wrote {path}")

    def day(self) -> date:
        """Return one of the dates so far."""
        return START + timedelta(days=self.draw.randrange((self.newest - START).days + 1))

    def orders(self, day: date) -> None:
        """Deliver or correct a file of orders; some of its rows are no good."""
        wrong = ["x,not a date,bolt,1,1"] * self.draw.randrange(3)
        rows = [f"{n},{day},{self.draw.choice(WORDS)},{n},2.5" for n in range(self.draw.randint(1, 9))]
        lines = ["order_id,order_date,product,quantity,amount", *rows, *wrong]
        self.put(f"orders/{day}/part{self.draw.randrange(2)}.csv", "\n".join(lines) + "\n")

    def note(self, day: date | None) -> None:
        """Deliver or correct a note, in a dated folder or in none; words repeat, so that texts do."""
        text = "\n\n".join(f"The {self.draw.choice(WORDS)} is here. " * 8 for _ in range(self.draw.randint(1, 4)))
        self.put(f"notes/{day}/note{self.draw.randrange(2)}.txt" if day else "notes/note.txt", text)

    def remove(self) -> None:
        """Take a file back; a folder that is empty then delivers nothing any more."""
        found = sorted(path for path in self.settings.inbox("shop").rglob("part*.csv"))
        if len(found) > 1:
            path = self.draw.choice(found)
            path.unlink()
            self.story.append(f"removed {path.relative_to(self.settings.inbox('shop'))}")

    def break_file(self, day: date) -> Path:
        """Deliver a file that can't be read as a table."""
        self.put(f"orders/{day}/zz_broken.csv", "")
        return self.settings.inbox("shop") / f"orders/{day}/zz_broken.csv"

    def new_epoch(self, valid_from: date) -> None:
        """Accept other parameters."""
        self.max_chars += 40
        self.write_yaml()
        accept(open_lake(self.settings, "shop"), load_customer(self.settings.customers, "shop"), valid_from)
        self.accepted = valid_from
        self.story.append(f"accepted an epoch from {valid_from}")


def agree(settings: Settings, first: date, last: date) -> Preview:
    """Preview a backfill, run it, and hold what happened against what was told; return the preview."""
    told = preview(settings, "shop", first, last)
    assert_happens(settings, told)
    return told


def assert_happens(settings: Settings, told: Preview) -> None:
    """Run the backfill that was previewed, and its rebuild, and compare."""
    days = [day for day in told.days if not day.rebuild]
    count = (told.last - told.first).days + 1
    assert [day.logical_date for day in days] == [told.first + timedelta(days=number) for number in range(count)]
    before = {one.logical_date for one in stale_dates(settings, "shop")}
    for day in days:
        assert_day(day, happened(settings, day.logical_date))
    after = {one.logical_date for one in stale_dates(settings, "shop")}
    assert set(told.makes_stale) == after - before
    newest = newest_date_is_stale(settings, "shop")
    assert told.rebuilds == newest
    if newest is not None:
        assert_day(told.days[-1], happened(settings, newest))
    assert list(told.stale_after) == [one.logical_date for one in stale_dates(settings, "shop")]


def happened(settings: Settings, day: date) -> dict[str, Any]:
    """Run a date as the tasks of a night do, and tell what it did."""
    rows, steps, kept, mains = state(settings, day), written(settings), released(settings), heads(settings)
    told: dict[str, Any] = {"fails": None, "loaded": 0, "rejected": 0, "texts": 0, "image": "none"}
    try:
        failed: CradleError | None = None
        for source in load_customer(settings.customers, "shop").installation.sources:
            try:
                made = ingest(settings, "shop", day, [source.name]).sources[0]
                told["loaded"] += made.rows_accepted
                told["rejected"] += made.rows_rejected
            except CradleError as error:
                failed = failed or error
        if failed:
            raise failed
        build(settings, "shop", day)
        told["chunks"] = sum(chunk_documents(settings, "shop", day).chunks.values())
        told["texts"] = embed_chunks(settings, "shop", day).embedded
        index_chunks(settings, "shop", day)
        told["image"] = image(settings, day)
    except CradleError as error:
        told["fails"] = type(error).__name__
    after, now = state(settings, day), written(settings)
    assert released(settings)[: len(kept)] == kept  # a backfill never changes a release that exists
    if kept and day < max(one.logical_date for one, _ in kept):
        assert heads(settings) == mains  # only a run dated on or after the current release moves `main`
    told["tables"] = {
        table: (rows.get(table), count, now[table] - steps.get(table, 0)) for table, count in after.items()
    }
    return told


def released(settings: Settings) -> list[tuple[releases.Release, dict[str, str]]]:
    """Return every release in the order in which it was made, and the digests that its snapshots have now."""
    lake = open_lake(settings, "shop")
    made = sorted(releases.releases(lake), key=lambda one: one.sequence)
    digests = {
        (table, pin.snapshot_id): pin.content_digest
        for table in sorted({table for one in made for table in one.pins})
        for pin, _ in history_of(lake, table)
    }
    return [(one, {table: digests[table, pin.snapshot_id] for table, pin in one.pins.items()}) for one in made]


def heads(settings: Settings) -> dict[str, int]:
    """Return table → snapshot that `main` stands for, of all that is built."""
    lake, found = open_lake(settings, "shop"), {}
    for layer in ("staging", "marts"):
        for table in tables(lake, layer):
            pin = resolve(lake, table)
            if pin is not None:
                found[table] = pin.snapshot_id
    return found


def image(settings: Settings, day: date) -> str:
    """Release and bake a date; tell whether its image is new."""
    lake = open_lake(settings, "shop")
    known = {row["digest"] for row in releases.image_events(lake)}
    own = [one.release_id for one in releases.releases(lake) if one.logical_date == day]
    made = releases.release(settings, "shop", day)
    baked = bake(settings, "shop", day, release_id=made.release_id)
    if baked.digest not in known:
        return "new"
    return "unchanged" if own and own[-1] == made.release_id else "same"


def state(settings: Settings, day: date) -> dict[str, int]:
    """Return table → rows that stand for a date; of the ledger all of its rows."""
    lake, found = open_lake(settings, "shop"), {}
    for layer in ("raw", "staging", "marts", "vectors"):
        for table in tables(lake, layer):
            ref = "main" if layer == "raw" or table == "vectors.embeddings" else asof_branch(day)
            pin = resolve(lake, table, ref)
            if pin is not None:
                found[table] = pin.rows
    return found


def written(settings: Settings) -> dict[str, int]:
    """Return table → number of steps that wrote it."""
    lake = open_lake(settings, "shop")
    layers = ("raw", "staging", "marts", "vectors")
    return {table: len(history_of(lake, table)) for layer in layers for table in tables(lake, layer)}


def assert_day(told: DayPreview, real: dict[str, Any]) -> None:
    """Compare one day's prediction with what happened."""
    assert (told.fails or "").partition(":")[0] == (real["fails"] or ""), (told.fails, real["fails"])
    assert sum(source.rows_loaded for source in told.sources) == real["loaded"]
    assert sum(source.rows_rejected for source in told.sources) == real["rejected"]
    predicted = {one.table: (one.rows_before, one.rows_after, one.snapshots) for one in told.tables}
    ledger = real["tables"].get("vectors.embeddings")
    if ledger and not ledger[2]:
        del real["tables"]["vectors.embeddings"]  # told only where it grows
    if ledger and ledger[2] and ledger[0] is None:
        real["tables"]["vectors.embeddings"] = (0, *ledger[1:])
    assert predicted == real["tables"]
    if not real["fails"]:
        before = real["tables"].get("marts.general_chunks", (None,))[0]
        assert (told.chunks_before, told.chunks_after, told.texts_to_embed) == (before, real["chunks"], real["texts"])
        assert told.image == real["image"]


def cases(shop: Shop) -> list[tuple[str, Callable[[], tuple[date, date]]]]:
    """Return what may happen before a backfill; each returns the dates of the backfill that follows."""

    def tonight() -> tuple[date, date]:
        shop.newest += timedelta(days=1)
        return shop.newest, shop.newest

    def delivery() -> tuple[date, date]:
        first, last = tonight()
        shop.orders(last)
        shop.note(shop.draw.choice([last, None]))
        return first, last

    def correction() -> tuple[date, date]:
        day = shop.day()
        shop.orders(day)
        return day, min(day + timedelta(days=1), shop.newest)

    def full_correction() -> tuple[date, date]:
        day = shop.day()
        shop.note(day)
        return day, day

    def withdrawal() -> tuple[date, date]:
        shop.remove()
        return START, shop.day()

    def repeated() -> tuple[date, date]:
        day = shop.day()
        return day, min(day + timedelta(days=1), shop.newest)

    def undated() -> tuple[date, date]:
        shop.note(None)
        return shop.newest - timedelta(days=shop.newest > START), shop.newest

    def epoch() -> tuple[date, date]:
        shop.new_epoch(max(shop.accepted + timedelta(days=1), shop.newest))
        return shop.newest, shop.newest

    return [
        (one.__name__, one)
        for one in (delivery, correction, full_correction, withdrawal, repeated, undated, epoch, tonight)
    ]
