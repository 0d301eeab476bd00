"""What was done before is not done again: a build starts no dbt, a verification only hashes; both notice changes."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from cradle import names, oci, releases
from cradle.bake import verify
from cradle.bake.report import report_path
from cradle.bake.unpack import images
from cradle.catalog import open_lake, ops, resolve
from cradle.catalog.deliveries import as_of, state
from cradle.catalog.run import open_run
from cradle.config import Settings
from cradle.errors import BuildFailed, MissingStep, VerifyFailed
from cradle.examples import generate
from cradle.indexing import chunk_documents, embed_chunks, index_chunks
from cradle.points import LISTENERS
from cradle.vectors.collection import COMMIT, folder_of
from dbt_project.plugins import known
from dbt_project.plugins.build import build
from dbt_project.plugins.current import Build
from dbt_project.plugins.invoke import FOLDER, RESULTS, work_folder
from dbt_project.plugins.known import build_key
from dlt_pipelines.ingest import ingest
from tests.forging import flip
from tests.nights import DAY, contents, night

pytestmark = pytest.mark.integration


@pytest.fixture
def built(settings: Settings) -> Settings:
    """Settings of a home whose marts were built once."""
    generate("demo", settings.inbox("demo"), rows=30)
    ingest(settings, "demo", DAY)
    assert all(one.written for one in build(settings, "demo", DAY).tables.values())
    return settings


def ran(settings: Settings, day: date = DAY) -> bool:
    """Tell whether dbt ran for a date since this was last asked."""
    path = work_folder(settings, open_run(settings, "demo", day)) / RESULTS
    found = path.is_file()
    path.unlink(missing_ok=True)
    return found


def test_a_build_that_is_known_starts_no_dbt_and_leaves_the_same(built: Settings) -> None:
    assert ran(built)
    lake, before = open_lake(built, "demo"), contents(open_lake(built, "demo"))
    again = build(built, "demo", DAY)
    later = build(built, "demo", DAY + timedelta(days=1))
    assert not ran(built)
    assert not ran(built, DAY + timedelta(days=1))
    assert contents(lake) == before
    for one in (again, later):
        assert not any(table.written for table in one.tables.values())
        assert one.tests == again.tests > 0
    for table in later.tables:
        assert resolve(lake, table, f"asof-{DAY + timedelta(days=1)}") == resolve(lake, table, f"asof-{DAY}")
    assert not build(built.model_copy(update={"full_refresh": True}), "demo", DAY).published
    assert ran(built)


def test_staging_and_marts_are_known_each_by_themselves(built: Settings) -> None:
    for layer in ("staging", "marts"):
        build(built, "demo", DAY, layer)
    assert ran(built)
    for layer in ("staging", "marts"):
        assert not any(one.written for one in build(built, "demo", DAY, layer).tables.values())
    assert not ran(built)


def test_other_rows_are_built_and_what_they_replaced_is_known_still(built: Settings) -> None:
    lake, first = open_lake(built, "demo"), contents(open_lake(built, "demo"))
    sales = built.inbox("demo") / "sales" / "sales.csv"
    rows = sales.read_text()
    sales.write_text(rows + "ORD-9999,CUST-0001,2024-03-31,Laptop,1,1500.00,North\n")
    ran(built)
    ingest(built, "demo", DAY)
    assert build(built, "demo", DAY).tables["marts.orders"].rows == 31
    assert ran(built)
    sales.write_text(rows)
    ingest(built, "demo", DAY)
    assert build(built, "demo", DAY).tables["marts.orders"].rows == 30
    assert not ran(built)
    marts = {table: digest for table, digest in first.items() if table.startswith("marts.")}
    assert {table: digest for table, digest in contents(lake).items() if table in marts} == marts


def test_a_build_that_failed_is_not_known(built: Settings) -> None:
    sales = built.inbox("demo") / "sales" / "sales.csv"
    sales.write_text(sales.read_text() + "ORD-0001,CUST-0001,2024-03-31,Laptop,1,1500.00,North\n")
    ingest(built, "demo", DAY)
    lake = open_lake(built, "demo")
    before = len([row for row in ops.rows(lake, "ops.releases") if row["kind"] == "built"])
    LISTENERS.append(stop)
    try:
        with pytest.raises(BuildFailed):
            build(built, "demo", DAY)
    finally:
        LISTENERS.remove(stop)
    assert len([row for row in ops.rows(lake, "ops.releases") if row["kind"] == "built"]) == before
    ran(built)
    assert build(built, "demo", DAY).tests > 0
    assert ran(built)


def stop(name: str) -> None:
    """Break off before a mart is committed."""
    if name == "commit.marts.daily_revenue.looked":
        raise RuntimeError("stopped")


def test_what_decides_a_build_is_in_its_key(built: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(built, "demo", DAY)
    current = Build(run, as_of(run.lake, run.installation, DAY))
    keys = [build_key(current, None), build_key(current, "staging")]
    folder = tmp_path / "dbt_project"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("plugins", "target", "logs"))
    monkeypatch.setattr(known, "FOLDER", folder)
    assert build_key(current, None) == keys[0]
    for name in ("models/marts/orders.sql", "models/schema.yml", "macros/casting.sql", "dbt_project.yml"):
        path = folder / name
        path.write_text(path.read_text() + "\n")
        keys.append(build_key(current, None))
    (folder / "tests" / "generic" / "another.sql").write_text("select 1")
    keys.append(build_key(current, None))
    keys.append(build_key(Build(run, state([], run.installation, DAY)), None))
    assert len(set(keys)) == len(keys)


def test_an_image_that_was_verified_is_only_hashed_and_damage_is_found(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=20)
    night(settings, "demo")
    lake = open_lake(settings, "demo")
    release = releases.find(lake)
    whole = report_path(settings, "demo", images_of(settings)[f"demo:{release.short_id}"]).read_text()
    again = verify(settings, "demo", once=True)
    assert [check.name for check in again.checks] == ["blobs", "index", "verified before"]
    assert again.verified
    assert report_path(settings, "demo", again.digest).read_text() == whole
    assert len(verify(settings.model_copy(update={"full_refresh": True}), "demo", once=True).checks) > 10
    assert [row["event"] for row in releases.image_events(lake, release.release_id)] == ["baked", "verified"]
    layer = oci.get_json(settings.images("demo") / "layout", again.digest)["layers"][-1]
    blob = oci.blob_path(settings.images("demo") / "layout", layer["digest"])
    flip(blob, blob.stat().st_size // 2, 3)
    with pytest.raises(VerifyFailed, match="is damaged"):
        verify(settings, "demo", once=True)
    flip(blob, blob.stat().st_size // 2, 3)
    assert len(verify(settings, "demo", once=True).checks) > 10
    assert len(verify(settings, "demo", once=True).checks) == 3


def images_of(settings: Settings) -> dict[str, str]:
    """Return name → digest of the demo's images."""
    return images(settings.images("demo") / "layout")


def test_a_collection_that_is_known_is_found_without_its_rows(built: Settings) -> None:
    for verb in (chunk_documents, embed_chunks):
        verb(built, "demo", DAY)
    first = index_chunks(built, "demo", DAY)
    lake = open_lake(built, "demo")
    lake.catalog.drop_table(lake.identifier(names.LEDGER))  # no vector can be read any more
    again = index_chunks(built, "demo", DAY)
    assert (first.built, again.built) == (True, False)
    assert again.digest == first.digest
    later = DAY + timedelta(days=1)
    build(built, "demo", later)
    chunk_documents(built, "demo", later)
    assert index_chunks(built, "demo", later).digest == first.digest
    (folder_of(built, "demo", first.digest) / COMMIT).unlink()
    with pytest.raises(MissingStep, match="have no vector"):
        index_chunks(built, "demo", DAY)
