"""Files that live at the store: what arrives in the inbox bucket, and originals that workers share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cradle import names, releases
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.errors import InputError, VerifyFailed
from cradle.examples import generate
from cradle.secrets import ANY, read_secret
from cradle.store import client, fetch_inbox, shared
from dlt_pipelines.ingest import ingest
from tests.nights import DAY, contents, night

pytestmark = [pytest.mark.integration, pytest.mark.servers]
ROWS = 50


def deliver(settings: Settings, folder: Path) -> None:
    """Upload a folder as the customer does, with the identity that may only write."""
    store = client(settings, "s3", read_secret(settings, "demo", ANY, "inbox"))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.upload_file(str(path), names.bucket("demo", "inbox"), path.relative_to(folder).as_posix())


def worker(settings: Settings, home: Path) -> Settings:
    """Another machine: a home of its own, the same servers and secrets."""
    return settings.model_copy(update={"home": home, "secrets": settings.home / "secrets"})


def test_what_the_customer_uploads_is_the_next_nights_delivery(settings: Settings, tmp_path: Path) -> None:
    made = settings.model_copy(update={"home": tmp_path / "made"})
    generate("demo", made.inbox("demo"), rows=ROWS)
    open_lake(settings, "demo")
    deliver(settings, made.inbox("demo"))
    night(settings, "demo", upto="release")
    assert releases.find(open_lake(settings, "demo")).pins["marts.orders"].rows == ROWS
    assert fetch_inbox(settings, "demo") == 0  # unchanged objects are not fetched again


def test_a_worker_without_any_file_goes_on_from_the_shared_originals(settings: Settings, tmp_path: Path) -> None:
    generate("demo", settings.inbox("demo"), rows=ROWS)
    night(settings, "demo", upto="release")
    before = contents(open_lake(settings, "demo"))
    other = worker(settings, tmp_path / "other")
    lake = open_lake(other, "demo", "admin")
    for table in ("raw.sales", "raw.products"):
        lake.catalog.drop_table(lake.identifier(table))
    ingest(other, "demo", DAY, claim=False)
    assert contents(open_lake(other, "demo")) == before


def test_a_damaged_original_is_named_and_not_loaded(settings: Settings, tmp_path: Path) -> None:
    generate("demo", settings.inbox("demo"), rows=ROWS)
    ingest(settings, "demo", DAY)
    store, bucket = shared(settings, "demo"), names.bucket("demo", "files")
    assert store is not None
    sales = next((settings.files("demo") / "originals").rglob("[0-9a-f]" * 64))
    key = f"originals/{sales.name[:2]}/{sales.name}"
    store.put_object(Bucket=bucket, Key=key, Body=b"something else")
    other = worker(settings, tmp_path / "other")
    lake = open_lake(other, "demo", "admin")
    for role in ("sales", "products", "documents"):
        lake.catalog.drop_table(lake.identifier(f"raw.{role}"))
    with pytest.raises(VerifyFailed, match=sales.name):
        ingest(other, "demo", DAY, claim=False)
    shutil.rmtree(other.home, ignore_errors=True)


def test_an_object_whose_name_leads_out_of_the_inbox_is_refused(settings: Settings, tmp_path: Path) -> None:
    open_lake(settings, "demo")
    store = client(settings, "s3", read_secret(settings, "demo", ANY, "inbox"))
    try:
        store.put_object(Bucket=names.bucket("demo", "inbox"), Key="../../outside.csv", Body=b"x")
    except Exception:  # noqa: BLE001  (a store that refuses such a name is as good)
        return
    with pytest.raises(InputError, match=r"outside\.csv"):
        fetch_inbox(settings, "demo")
    assert not list(tmp_path.rglob("outside.csv"))
