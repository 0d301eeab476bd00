"""From one night to the next: what changed is told row by row, and the delta makes the customer's image the new one."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from cradle.bake.unpack import images, unpack_into
from cradle.bake.verify import verify_image
from cradle.catalog import open_lake, read
from cradle.changes import changes
from cradle.config import PROJECT, Settings
from cradle.delivery.apply import apply_delta
from cradle.delivery.delta import make_delta
from cradle.delivery.layout import blobs_of
from cradle.errors import ConfigError, MissingStep
from cradle.examples import generate
from cradle.names import LINEAGE
from cradle.oci import PREFIX
from cradle.releases import Release, releases
from tests.deltas import copy_of, named
from tests.differences import assert_as, plain_python
from tests.nights import DAY, night

pytestmark = pytest.mark.integration


def two_nights(settings: Settings, upto: str) -> tuple[Release, Release]:
    """Run a night, then one for which an order came, one went, one was corrected and one came without its quantity."""
    generate("demo", settings.inbox("demo"), rows=120)
    night(settings, "demo", DAY, upto=upto)
    path = settings.inbox("demo") / "sales" / "sales.csv"
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    number, *rest = lines[-1].split(",")
    gone, corrected = lines.pop(3), lines[7].split(",")
    corrected[4] = "77"
    lines[7] = ",".join(corrected)
    lines.append(",".join(["ORD-NEW", *rest]))
    lines.append(",".join(["ORD-BAD", *rest[:3], "many", *rest[4:]]))
    assert gone.split(",")[0] not in ("ORD-NEW", number)
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    night(settings, "demo", DAY + timedelta(days=1), upto=upto)
    first, second = releases(open_lake(settings, "demo"))
    return first, second


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Release, Release]:
    """A home in which two nights have baked their images."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(PROJECT / "data" / "customers", folder / "customers")
    settings = Settings(home=folder / "home", customers=folder / "customers")
    return settings, *two_nights(settings, "bake")


@pytest.mark.behaviour
def test_what_changed_between_two_nights_is_told_row_by_row(settings: Settings) -> None:
    first, second = two_nights(settings, "release")
    found = changes(settings, "demo", first.short_id, second.release_id)
    lake = open_lake(settings, "demo")
    for table, told in found.tables.items():
        pins = first.pins[table], second.pins[table]
        before, after = (read(lake, pin).to_pylist() for pin in pins)
        columns = [name for name in pins[0].columns if name not in LINEAGE]
        assert_as(told, plain_python(before, after, columns, told.key), columns)
        assert told.key == pins[1].key
    orders = found.tables["marts.orders"]
    assert (orders.added, orders.changed, orders.removed) == (1, 1, 1)
    assert orders.rows_added[0].values["order_id"] == "ORD-NEW"
    assert set(orders.rows_changed[0].cells) == {"quantity", "line_total"}
    assert orders.rows_changed[0].cells["quantity"].new == 77
    assert (found.rejects_before, found.rejects_after) == (0, 1)
    assert (found.vectors_before, found.vectors_after) == (19, 19)
    assert sum(told.added + told.changed + told.removed for told in found.tables.values()) > 3
    back = changes(settings, "demo", second.release_id, first.release_id)
    assert (back.tables["marts.orders"].rows_removed, back.rejects_after) == (orders.rows_added, 0)
    assert changes(settings, "demo", first.release_id, second.release_id).canonical() == found.canonical()
    same = changes(settings, "demo", second.release_id, second.release_id)
    assert not any(told.added or told.changed or told.removed for told in same.tables.values())
    with pytest.raises(MissingStep, match="no release of abc"):
        changes(settings, "demo", "abc", second.release_id)
    with pytest.raises(ConfigError, match="a limit of -1"):
        changes(settings, "demo", first.release_id, second.release_id, -1)


def test_the_delta_of_two_nights_makes_the_new_image_of_the_old_one(
    baked: tuple[Settings, Release, Release], tmp_path: Path
) -> None:
    settings, first, second = baked
    layout = settings.images("demo") / "layout"
    names = [f"demo:{one.short_id}" for one in (first, second)]
    old, new = (images(layout)[name] for name in names)
    made = make_delta(layout, old, new, tmp_path / "delta")
    assert made.bytes < made.missing_bytes / 2
    customer = copy_of(layout, old, names[0], tmp_path / "customer")
    assert apply_delta(made.path, customer, public_key=None, signature=None) == new
    assert named(customer) == {names[1]: new}
    assert {path.name for path in (customer / "blobs" / "sha256").iterdir()} == {
        digest.removeprefix("sha256:") for one in (old, new) for digest in blobs_of(layout, one)
    }
    result = verify_image(settings, customer, new)
    assert result.verified, [check for check in result.checks if not check.ok]
    assert result.release_id == second.release_id
    trees = []
    for place, name in ((layout, "factory"), (customer, "customer")):
        folder = tmp_path / name / PREFIX
        folder.mkdir(parents=True)
        unpack_into(place, new, folder)
        trees.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert trees[0] == trees[1]


def test_releases_whose_tables_are_gone_are_not_compared(baked: tuple[Settings, Release, Release]) -> None:
    settings, first, second = baked
    lake = open_lake(settings, "demo")
    lake.catalog.drop_table(lake.identifier("marts.daily_revenue"))
    with pytest.raises(MissingStep, match=r"marts\.daily_revenue of customer demo has no snapshot .* any more"):
        changes(settings, "demo", first.release_id, second.release_id)
