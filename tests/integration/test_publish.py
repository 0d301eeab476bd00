"""What is baked and published: the same bytes anywhere, whole or not at all, written once, signed."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import struct
import threading
from pathlib import Path

import apsw
import pytest

from cradle import oci, releases
from cradle.bake import bake
from cradle.bake.image import layout_of
from cradle.bake.report import report_path
from cradle.bake.unpack import images, unpack
from cradle.bake.verify import VerifyResult, verify_image
from cradle.catalog import open_lake
from cradle.config import PROJECT, Settings
from cradle.delivery.collect import collect
from cradle.delivery.ports import RESERVED, check_ports, next_port_base, recorded, refuse_taken
from cradle.delivery.publish import FIRST, KEY, publish, publisher_key, versions
from cradle.delivery.rebake import inspect, listed, rebake
from cradle.delivery.vault import Folder, open_vault
from cradle.errors import ConfigError, MissingStep, Unavailable, VerifyFailed
from cradle.examples import generate
from cradle.secrets import ANY, OPERATOR, secret_path
from cradle.signed import fingerprint, read_signed, sign
from tests.kills import killed
from tests.nights import night

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A demo lake with a verified image of data alone, for this module's tests to publish."""
    folder = tmp_path_factory.mktemp("publish")
    shutil.copytree(PROJECT / "data" / "customers", folder / "customers")
    settings = Settings(home=folder / "home", customers=folder / "customers")
    generate("demo", settings.inbox("demo"))
    night(settings, "demo")
    return settings


@pytest.fixture
def empty(made: Settings) -> Settings:
    """The same, with an empty archive."""
    shutil.rmtree(made.home / "archive", ignore_errors=True)
    return made


def image_of(settings: Settings) -> str:
    return images(layout_of(settings, "demo"))[f"demo:{current(settings)}"]


def current(settings: Settings) -> str:
    found = releases.current(open_lake(settings, "demo"))
    assert found is not None
    return found.short_id


def content(layout: Path) -> dict[str, bytes]:
    """Return all that readers look at: index and blobs."""
    return {p.name: p.read_bytes() for p in [layout / "index.json", *sorted((layout / "blobs" / "sha256").iterdir())]}


def test_another_machine_gives_the_same_image(made: Settings, tmp_path: Path) -> None:
    strange = {
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "LANG": "tr_TR.UTF-8",
        "TEST_UMASK": "077",
        "TEST_OTHER_ZLIB": "1",
        "PYTHONHASHSEED": "7",
        "TMPDIR": str(tmp_path),
    }
    killed(made, "bake", 0, strange, out=str(tmp_path / "there"))
    bake(made, "demo", out=tmp_path / "here")
    assert images(tmp_path / "here") == images(tmp_path / "there")
    assert image_of(made) in images(tmp_path / "here").values()
    assert content(tmp_path / "here") == content(tmp_path / "there")


def test_the_machines_sqlite_decides_no_byte(made: Settings) -> None:
    root = unpack(made, "demo", image_of(made))
    (index,) = sorted(root.glob("keys/marts.syndication_products.sqlite"))
    (written_by,) = struct.unpack(">I", index.read_bytes()[96:100])  # SQLITE_VERSION_NUMBER of the last writer
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split("."))
    assert written_by == major * 1_000_000 + minor * 1_000 + patch
    assert apsw.sqlite_lib_version() != sqlite3.sqlite_version, "these are equal by chance: the test shows nothing here"


def test_a_kept_release_gives_its_image_again(made: Settings) -> None:
    again = rebake(made, "demo")
    assert again.digest == image_of(made) == again.before


def test_a_bake_that_gives_another_image_is_told(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cradle.bake.layers.NOTES_FORMAT", 99)
    monkeypatch.setattr("cradle.bake.layers.NOTES", "notes/other.json")
    with pytest.raises(VerifyFailed, match="was baked before"):
        rebake(made, "demo")


def test_publishing_again_and_at_once_writes_once(empty: Settings) -> None:
    secret_path(empty, OPERATOR, ANY, KEY).unlink(missing_ok=True)  # they also make the signing key at once
    results: list[bool] = []

    def run() -> None:
        results.append(publish(empty, "demo", unstarted=True).published)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(results) == [False, True]
    again = publish(empty, "demo", unstarted=True)
    assert (again.published, again.bytes, again.version) == (False, 0, FIRST)
    assert len(versions(empty, "demo")) == 1


def test_what_was_never_started_is_published_only_on_demand(empty: Settings) -> None:
    with pytest.raises(MissingStep, match=r"never started.*--unstarted"):
        publish(empty, "demo")


def test_a_failed_check_stops_the_publish(empty: Settings) -> None:
    path = report_path(empty, "demo", image_of(empty))
    before = path.read_text(encoding="utf-8")
    report = VerifyResult.model_validate_json(before)
    checks = [one.model_copy(update={"ok": False}) if one.name == "leaks" else one for one in report.checks]
    failed = report.model_copy(update={"verified": False, "checks": tuple(checks)})
    path.write_text(failed.model_dump_json(), encoding="utf-8")
    try:
        with pytest.raises(VerifyFailed, match="leaks failed"):
            publish(empty, "demo", unstarted=True)
        path.unlink()
        with pytest.raises(MissingStep, match="is not verified"):
            publish(empty, "demo", unstarted=True)
    finally:
        path.write_text(before, encoding="utf-8")
    assert versions(empty, "demo") == []


def test_a_blob_damaged_after_its_verification_is_not_archived(empty: Settings) -> None:
    layer = max(oci.blobs_of(layout_of(empty, "demo"), image_of(empty)), key=lambda one: one["size"])
    path = oci.blob_path(layout_of(empty, "demo"), layer["digest"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(VerifyFailed, match="damaged since it was verified"):
            publish(empty, "demo", unstarted=True)
    finally:
        path.write_bytes(whole)
    assert versions(empty, "demo") == []


def test_the_archive_takes_nothing_back(empty: Settings, tmp_path: Path) -> None:
    publish(empty, "demo", unstarted=True)
    vault = open_vault(empty, "demo")
    key = f"{empty.environment}/versions/{FIRST}.json"
    before = vault.read(key)
    assert not vault.put_bytes(key, b"another")
    (tmp_path / "other").write_bytes(b"another")
    assert not vault.put(key, tmp_path / "other")
    assert vault.read(key) == before
    assert not hasattr(vault, "delete")
    assert (empty.home / "archive" / "demo" / key).stat().st_mode & 0o222 == 0
    with pytest.raises(MissingStep, match="cradle releases list"):
        vault.read("blobs/sha256/none")


def test_a_statement_that_someone_else_signed_is_refused(empty: Settings) -> None:
    publish(empty, "demo", unstarted=True)
    statement, key = read_signed(open_vault(empty, "demo").read(f"{empty.environment}/versions/{FIRST}.json"), "x")
    assert fingerprint(key) == fingerprint(publisher_key(empty).public_key().public_bytes_raw())
    forged = Folder(empty.home / "archive" / "demo")
    forged.put_bytes(f"{empty.environment}/versions/v1.1.json", sign(b"\1" * 32, {**statement, "version": "v1.1"}))
    with pytest.raises(VerifyFailed, match="signed by another publisher"):
        versions(empty, "demo")


@pytest.mark.parametrize("field", ["statement", "public_key", "signature"])
def test_every_part_of_a_statement_is_under_its_signature(field: str) -> None:
    signed = json.loads(sign(b"\7" * 32, {"image": "sha256:1"}))
    raw = bytearray(base64.b64decode(signed[field]))
    raw[len(raw) // 2] ^= 1
    changed = json.dumps({**signed, field: base64.b64encode(bytes(raw)).decode()}).encode()
    with pytest.raises(VerifyFailed, match="signature is wrong"):
        read_signed(changed, "it")


def test_releases_are_listed_with_what_became_of_them(empty: Settings) -> None:
    publish(empty, "demo", unstarted=True)
    (one,) = listed(empty, "demo")
    assert (one.current, one.verified, one.version, one.image) == (True, True, FIRST, image_of(empty))
    shown = inspect(empty, "demo")
    assert shown["manifest"]["port_base"] == 9320
    assert {"marts.orders", "encoder", "manifest", "notes"} <= {layer["name"] for layer in shown["layers"]}


def test_ports_are_recorded_and_never_clash(made: Settings, tmp_path: Path) -> None:
    taken = recorded(made.customers)
    base = next_port_base(made.customers)
    assert base not in taken.values()
    assert not {base + above for above in range(10)} & set(RESERVED)
    assert base != 9330  # its dashboards would stand on the port of SeaweedFS' master
    folder = tmp_path / "customers"
    shutil.copytree(made.customers, folder)
    path = folder / "demo.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("9320", "9310"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"clashes with the ports of lightnet.*Free: \d+"):
        check_ports(folder, "demo")
    path.write_text(path.read_text(encoding="utf-8").replace("9310", "9330"), encoding="utf-8")
    with pytest.raises(ConfigError, match="9333"):
        check_ports(folder, "demo")


def test_a_taken_port_is_named() -> None:
    import socket

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(Unavailable, match=f"port {busy.getsockname()[1]} on 127.0.0.1 is taken"):
            refuse_taken(busy.getsockname()[1] - 2)


def test_collecting_keeps_what_a_kept_release_needs(empty: Settings, tmp_path: Path) -> None:
    layout = layout_of(empty, "demo")
    kept = image_of(empty)
    stray = layout / "blobs" / "sha256" / ("0" * 64)
    stray.write_bytes(b"of a bake that was killed")
    oci.name_image(layout, kept, "demo:000000000000")  # a release that is gone
    try:
        assert collect(empty, "demo", guard_seconds=0, dry_run=True).blobs == 1
        assert stray.exists()
        assert collect(empty, "demo").blobs == 0, "a blob may be about to be named"
        oci.name_image(layout, kept, "demo:000000000000")
        made = collect(empty, "demo", guard_seconds=0)
        assert (made.dropped, made.blobs, stray.exists()) == (("demo:000000000000",), 1, False)
        assert images(layout) == {f"demo:{current(empty)}": kept}
        assert verify_image(empty, layout, kept).verified
        assert bake(empty, "demo").reused
    finally:
        stray.unlink(missing_ok=True)
