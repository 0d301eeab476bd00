"""A night in which little changed leaves what a rebuild of the same delivery leaves, and does only its own work."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from cradle import names, outcomes, releases
from cradle.bake.unpack import images, unpack_into
from cradle.catalog import open_lake, read, resolve
from cradle.config import Settings
from cradle.examples import generate
from cradle.indexing.ledger import ledger_rows
from cradle.manifest import read_manifest
from cradle.search import Searcher
from cradle.search.hits import Narrow
from tests.nights import DAY, contents, layers, night

pytestmark = [pytest.mark.integration, pytest.mark.behaviour]
QUERIES = ("warmweiße Anbauleuchte für Büros", "luminaire with safety glass", "RIPEND", "Delta 42 W IP65")


def vectors(settings: Settings) -> dict[str, bytes]:
    """Return content hash → vector of every chunk of the current release."""
    lake = open_lake(settings, "lightnet")
    release = releases.find(lake)
    assert release.collection is not None
    hashes: set[str] = set()
    for table, pin in release.pins.items():
        if table.endswith("_chunks"):
            hashes.update(read(lake, pin, ("content_hash",)).column(0).to_pylist())
    rows: pa.Table = ledger_rows(lake, release.collection.model_key, sorted(hashes))
    found = zip(rows.column("content_hash").to_pylist(), rows.column("embedding"), strict=True)
    return {one: vector.values.to_numpy().tobytes() for one, vector in found}


def answers(settings: Settings, folder: Path) -> list[list[tuple[str, float]]]:
    """Return the hits of some queries in the current image."""
    release = releases.find(open_lake(settings, "lightnet"))
    layout = settings.images("lightnet") / "layout"
    unpack_into(layout, images(layout)[f"lightnet:{release.short_id}"], folder)
    searcher = Searcher(folder, read_manifest(folder))
    searcher.open_vectors()
    asked = itertools.product(QUERIES, ("hybrid", "semantic", "lexical"))
    return [[(hit.chunk_id, hit.score) for hit in searcher.search(query, 8, Narrow(), mode)] for query, mode in asked]


def deliver(settings: Settings, seed: int, rows: int, changed: float | None = None, files: int | None = None) -> None:
    """Put a delivery of the catalogue into the inbox."""
    generate("lightnet", settings.inbox("lightnet"), seed=seed, rows=rows, changed=changed, changed_files=files)


def compare(small: Settings, rebuilt: Settings, tmp_path: Path) -> None:
    """Hold everything that a small night left against a rebuild."""
    one, two = (releases.find(open_lake(found, "lightnet")) for found in (small, rebuilt))
    assert (one.content_digest, one.release_id) == (two.content_digest, two.release_id)
    assert one.collection == two.collection
    assert {table: pin.content_digest for table, pin in one.pins.items()} == {
        table: pin.content_digest for table, pin in two.pins.items()
    }
    mine, theirs = (contents(open_lake(found, "lightnet")) for found in (small, rebuilt))
    made = [table for table in theirs if table.startswith(("staging.", "marts."))]
    assert {table: mine[table] for table in made} == {table: theirs[table] for table in made}
    assert vectors(small) == vectors(rebuilt)
    baked = [layers(found, "lightnet") for found in (small, rebuilt)]
    for one in baked:
        one.pop("notes")  # they name the release before
    assert baked[0] == baked[1]
    assert answers(small, tmp_path / "small") == answers(rebuilt, tmp_path / "rebuilt")


def changes(settings: Settings, tmp_path: Path, seed: int, rows: int, share: float, files: int | None) -> None:
    """Run a first night, one of a changed delivery, and a rebuild; compare the last two."""
    deliver(settings, seed, rows)
    night(settings, "lightnet", upto="bake")
    deliver(settings, seed, rows, share, files)
    later = DAY + timedelta(days=1)
    night(settings, "lightnet", later, upto="bake")
    told = outcomes.last(settings, "lightnet", later)
    embedded, distinct = (told["embed"]["counts"][name] for name in ("embedded", "distinct"))
    assert 0 < embedded < max(12, 8 * share * distinct)
    rebuilt = Settings(home=tmp_path / "rebuilt-home", customers=settings.customers)
    deliver(rebuilt, seed, rows, share, files)
    night(rebuilt, "lightnet", upto="bake")
    compare(settings, rebuilt, tmp_path)
    ledger = resolve(open_lake(settings, "lightnet"), names.LEDGER)
    assert ledger is not None
    assert ledger.rows == len(vectors(settings)) + gone(settings)


def gone(settings: Settings) -> int:
    """Return how many texts only the first delivery had."""
    lake = open_lake(settings, "lightnet")
    release = releases.find(lake, logical_date=DAY)
    old: set[str] = set()
    for table, pin in release.pins.items():
        if table.endswith("_chunks"):
            old.update(read(lake, pin, ("content_hash",)).column(0).to_pylist())
    return len(old - vectors(settings).keys())


def test_a_night_of_few_changes_equals_a_rebuild(settings: Settings, tmp_path: Path) -> None:
    changes(settings, tmp_path, seed=7, rows=60, share=0.05, files=None)


@pytest.mark.long
@pytest.mark.parametrize(
    ("seed", "rows", "share", "files"),
    [(1, 400, 0.01, None), (2, 400, 0.01, 1), (3, 250, 0.2, 2), (4, 120, 1.0, None)],
)
def test_nights_of_all_kinds_of_changes_equal_a_rebuild(
    settings: Settings, tmp_path: Path, seed: int, rows: int, share: float, files: int | None
) -> None:
    changes(settings, tmp_path, seed, rows, share, files)
