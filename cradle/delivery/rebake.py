"""What was released and baked, and the proof that a kept release gives its image again."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import oci, releases
from cradle.bake import bake
from cradle.bake.image import layout_of
from cradle.bake.unpack import images
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.delivery.publish import versions
from cradle.errors import MissingStep, VerifyFailed
from cradle.manifest import FILE, Manifest


class Listed(BaseModel):
    """A release and what became of it."""

    model_config = ConfigDict(frozen=True)

    release_id: str
    logical_date: date
    sequence: int
    current: bool
    same_as: date | None
    image: str | None
    verified: bool
    version: str | None


class Rebaked(BaseModel):
    """A release baked anew in an empty folder; equal to what was baked before, or an error says so."""

    model_config = ConfigDict(frozen=True)

    customer: str
    release_id: str
    digest: str
    before: str


def listed(settings: Settings, customer: str) -> list[Listed]:
    """Return all releases, newest first."""
    lake = open_lake(settings, customer)
    published = {one.image: one.version for one in versions(settings, customer)}
    known, events = releases.releases(lake), releases.image_events(lake)
    baked = {one["release_id"]: one["digest"] for one in events if one["event"] == "baked"}
    verified = {one["digest"] for one in events if one["event"] == "verified"}
    return [
        Listed(
            release_id=one.release_id,
            logical_date=one.logical_date,
            sequence=one.sequence,
            current=one is known[-1],
            same_as=one.same_as,
            image=baked.get(one.release_id),
            verified=baked.get(one.release_id) in verified,
            version=published.get(baked.get(one.release_id, "")),
        )
        for one in reversed(known)
    ]


def rebake(settings: Settings, customer: str, release_id: str | None = None) -> Rebaked:
    """Bake a release anew, on its own base and ports, in an empty folder.

    Raises:
        MissingStep: it was never baked, or its base is gone.
        VerifyFailed: the digest is another than before.
    """
    release = releases.find(open_lake(settings, customer), release_id=release_id)
    layout = layout_of(settings, customer)
    before = images(layout).get(f"{customer}:{release.short_id}")
    if before is None:
        raise MissingStep(f"release {release.short_id} of {customer} was never baked. Run `cradle bake {customer}`.")
    promised = _manifest(layout, before)
    folder = settings.work(customer)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="rebake-") as name:
        made = bake(
            settings,
            customer,
            release_id=release.release_id,
            out=Path(name) / "layout",
            base=promised.base,
            port_base=promised.port_base,
        )
    if made.digest != before:
        raise VerifyFailed(
            f"release {release.short_id} of {customer} gives {made.digest} where {before} was baked before. The data "
            f"are pinned, so the exporter or the encoder has changed: take the code of {promised.code_version}."
        )
    return Rebaked(customer=customer, release_id=release.release_id, digest=made.digest, before=before)


def inspect(settings: Settings, customer: str, release_id: str | None = None) -> dict[str, Any]:
    """Return what an image of the layout says of itself: its release manifest, its layers, its labels.

    Raises:
        MissingStep: the release was never baked.
    """
    release = releases.find(open_lake(settings, customer), release_id=release_id)
    layout = layout_of(settings, customer)
    image = images(layout).get(f"{customer}:{release.short_id}")
    if image is None:
        raise MissingStep(f"release {release.short_id} of {customer} was never baked. Run `cradle bake {customer}`.")
    described = oci.get_json(layout, image)
    layers = [
        {"name": one.get("annotations", {}).get(oci.DATA, "base"), "digest": one["digest"], "bytes": one["size"]}
        for one in described["layers"]
    ]
    manifest = _manifest(layout, image).model_dump(mode="json")
    return {"image": image, "annotations": described["annotations"], "layers": layers, "manifest": manifest}


def _manifest(layout: Path, image: str) -> Manifest:
    return Manifest.model_validate_json(oci.file_of(layout, oci.get_json(layout, image), "manifest", FILE))
