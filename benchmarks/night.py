"""Nights of the lighting catalogue: one in an empty home, one in which nothing changed, one in which 1 % changed.

All verbs from ingest to verify, in one process and without Airflow, imports included. An image without a base is
baked, so that it is verified by its files and by serving them, and not by starting a container.

Run:  python -m benchmarks night
"""

from __future__ import annotations

import functools
import json
import shutil
import time
from datetime import date, timedelta
from pathlib import Path

from benchmarks.stage import Facts, Goal, Stage, Variant, same
from cradle.config import PROJECT, Settings
from cradle.examples.lightnet import FULL

DAY = date(2026, 2, 2)
SHARE = 0.01
SIZES = {"smoke": 40, "full": FULL}
CUSTOMER = "lightnet"
NIGHT = ("ingest", "build", "chunk", "embed", "index", "release", "bake", "verify")
LEFT = ("release", "tables", "collection", "layers")  # that have to be equal
SMALLEST = 100  # products that the image's golden questions ask for; fewer are baked, and not verified
FILES = {"spread": None, "files": 3}  # delivery → in how many files its changes stand


def over(home: Path, inbox: Path) -> Settings:
    """Return settings over a home that takes this inbox."""
    target = Settings(home=home, customers=PROJECT / "data" / "customers", log_level="ERROR")
    shutil.rmtree(target.inbox(CUSTOMER), ignore_errors=True)
    shutil.copytree(inbox, target.inbox(CUSTOMER))
    return target


def run(settings: Settings, day: date, verbs: tuple[str, ...] = NIGHT) -> Facts:
    """Run a night and return what it left; figures are the seconds of each verb."""
    figures: dict[str, float] = {}
    for verb in verbs:
        clock = time.perf_counter()
        _verb(verb, settings, day)
        figures[f"{verb} s"] = round(time.perf_counter() - clock, 3)
    told = left(settings, day)
    spent = sum(figures.values())
    figures |= {"night s": round(spent, 3), "without embed s": round(spent - figures["embed s"], 3)}
    return told | {"figures": figures}


def _verb(verb: str, settings: Settings, day: date) -> None:
    if verb == "ingest":
        from dlt_pipelines.ingest import ingest

        ingest(settings, CUSTOMER, day)
    elif verb == "build":
        from dbt_project.plugins.build import build

        build(settings, CUSTOMER, day, "staging")
        build(settings, CUSTOMER, day, "marts")
    elif verb in ("chunk", "embed", "index"):
        from cradle import indexing

        functions = {"chunk": "chunk_documents", "embed": "embed_chunks", "index": "index_chunks"}
        getattr(indexing, functions[verb])(settings, CUSTOMER, day)
    elif verb == "release":
        from cradle import releases

        releases.release(settings, CUSTOMER, day)
    else:
        from cradle import bake

        functions = {"bake": bake.bake, "verify": functools.partial(bake.verify, once=True)}
        functions[verb](settings, CUSTOMER, day)


def left(settings: Settings, day: date) -> Facts:
    """Return what a night left, free of paths, times and snapshot ids."""
    from cradle import outcomes, releases
    from cradle.catalog import open_lake

    lake = open_lake(settings, CUSTOMER)
    release = releases.find(lake, logical_date=day)
    event = [one for one in releases.image_events(lake, release.release_id) if one["event"] == "baked"][-1]
    own = ("manifest", "notes")  # they name the release before
    layers = {one["name"]: one["digest"] for one in json.loads(event["layers"]) if one["name"] not in own}
    counts = {verb: one["counts"] for verb, one in outcomes.last(settings, CUSTOMER, day).items()}
    return {
        "release": release.release_id,
        "tables": {name: pin.content_digest for name, pin in release.pins.items()},
        "collection": release.collection.digest if release.collection else "",
        "layers": layers,
        "shipped": counts["bake"]["bytes_to_ship"],
        "embedded": counts["embed"]["embedded"],
    }


def prepare(inputs: Path, amount: int) -> None:
    """Make three deliveries, and a home in which the night of the first one has run; keep what that left."""
    from cradle.examples import generate

    rows = None if amount == FULL else amount
    generate(CUSTOMER, inputs / "first", rows=rows)
    for name, files in FILES.items():
        generate(CUSTOMER, inputs / name, rows=rows, changed=max(SHARE, 4 / amount), changed_files=files)
    (inputs / "verbs").write_text(" ".join(NIGHT if amount >= SMALLEST else NIGHT[:-1]), encoding="utf-8")
    facts = run(over(inputs / "home", inputs / "first"), DAY, _verbs(inputs))
    (inputs / "first.json").write_text(json.dumps({name: facts[name] for name in LEFT}), encoding="utf-8")
    (inputs / "home").rename(inputs / "kept")


def _verbs(inputs: Path) -> tuple[str, ...]:
    return tuple((inputs / "verbs").read_text(encoding="utf-8").split())


def restore(inputs: Path, scratch: Path) -> None:
    """Put the home of the first night where it was: what lies in it names its own path."""
    shutil.rmtree(inputs / "home", ignore_errors=True)
    shutil.copytree(inputs / "kept", inputs / "home", symlinks=True)


def whole(inputs: Path, scratch: Path) -> Facts:
    """Run the night of the changed delivery in an empty home."""
    return run(over(scratch / "home", inputs / "spread"), DAY, _verbs(inputs))


def later(inputs: Path, scratch: Path, inbox: str = "first") -> Facts:
    """Run the night after the first one, with this delivery."""
    return run(over(inputs / "home", inputs / inbox), DAY + timedelta(days=1), _verbs(inputs))


def unchanged(inputs: Path, scratch: Path) -> Facts:
    """Run the night after the first one, with the same files.

    Raises:
        Unequal: it made another release, embedded a text, or has bytes to ship.
    """
    facts = later(inputs, scratch)
    expected = json.loads((inputs / "first.json").read_text(encoding="utf-8")) | {"shipped": 0, "embedded": 0}
    same({"first": expected, "unchanged": facts}, *expected)
    return facts


def equal(facts: dict[str, Facts]) -> None:
    """Refuse a small night that left something else than a night of the same delivery in an empty home."""
    same({name: facts[name] for name in ("small", "whole")}, *LEFT)


STAGES = (
    Stage(
        name="night",
        title="A night",
        unit="products",
        sizes=SIZES,
        prepare=prepare,
        variants=(
            Variant("whole", "all of it, in an empty home", whole),
            Variant("unchanged", "nothing changed", unchanged, setup=restore),
            Variant("small", "1 % changed, in all files", functools.partial(later, inbox="spread"), setup=restore),
            Variant("files", "1 % changed, in three files", functools.partial(later, inbox="files"), setup=restore),
        ),
        check=equal,
        goals=(
            Goal("whole", way="unchanged", at_most=0.05),
            Goal("whole", way="small", at_most=0.10),
            Goal(figure="peak_mb", at_most=4096),
        ),
        note="Measured at full size alone: below it imports and dbt's start decide, which don't grow with the data.",
    ),
)
