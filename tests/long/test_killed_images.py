"""Bakes and publishes killed at one point after the other: nothing half is visible, the next try completes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cradle import oci
from cradle.bake import bake
from cradle.bake.unpack import images
from cradle.config import Settings
from cradle.delivery.publish import FIRST, blob_key, publish, versions
from cradle.delivery.vault import open_vault
from tests.integration.test_publish import content, empty, image_of, made
from tests.kills import killed

__all__ = ["empty", "made"]  # fixtures
pytestmark = pytest.mark.long
KILLS = 20


@pytest.mark.timeout(1800)
def test_a_killed_bake_leaves_nothing_half(made: Settings, tmp_path: Path) -> None:
    bake(made, "demo", out=tmp_path / "clean")
    wanted = content(tmp_path / "clean")
    for at in range(1, KILLS + 1):
        layout = tmp_path / f"killed-{at}"
        assert killed(made, "bake", at, out=str(layout))
        for path in (layout / "blobs" / "sha256").glob("*"):
            assert wanted[path.name] == path.read_bytes()
        if images(layout):
            assert {one["digest"].removeprefix("sha256:") for one in oci.blobs_of(layout, image_of(made))} <= set(
                wanted
            )
        bake(made, "demo", out=layout)
        assert content(layout) == wanted
        shutil.rmtree(layout)


@pytest.mark.timeout(1800)
def test_a_killed_publish_shows_all_or_nothing(empty: Settings) -> None:
    publish(empty, "demo", unstarted=True)
    vault = open_vault(empty, "demo")
    wanted = vault.keys("blobs/sha256/")
    for at in range(1, 2 * KILLS, 2):
        shutil.rmtree(empty.home / "archive")
        assert killed(empty, "publish", at)
        for version in versions(empty, "demo"):
            for digest, size in version.blobs.items():
                assert vault.size(blob_key(digest)) == size
        for key in vault.keys("blobs/sha256/"):
            assert oci.sha256(vault.read(key)) == key.rpartition("/")[2]
        publish(empty, "demo", unstarted=True)
        assert [(one.version, one.image) for one in versions(empty, "demo")] == [(FIRST, image_of(empty))]
        assert vault.keys("blobs/sha256/") == wanted
