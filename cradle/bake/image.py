"""The verb `bake`: one release row → one image in the customer's OCI layout.

The same release on the same base gives the same digest; a layer whose content is known is neither made nor written.
Flow: pins of a release → Parquet, key index, flat index, encoder → layers → manifest → image
Run:  cradle bake demo
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cradle import releases
from cradle.bake import oci
from cradle.bake.layers import PREFIX, Layers
from cradle.catalog import Lake, open_lake
from cradle.catalog.epochs import epochs
from cradle.config import Settings
from cradle.log import get
from cradle.manifest import FILE
from cradle.outcomes import outcome
from cradle.releases import Release

log = get("bake")


class BakedLayer(BaseModel):
    """A layer of an image; `reused` when it was there before."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    bytes: int
    reused: bool


class BakeResult(BaseModel):
    """An image; `reused` when nothing had to be made."""

    model_config = ConfigDict(frozen=True)

    customer: str
    release_id: str
    digest: str
    bytes: int
    bytes_to_ship: int
    layers: tuple[BakedLayer, ...]
    reused: bool


def bake(
    settings: Settings,
    customer: str,
    logical_date: date | None = None,
    *,
    release_id: str | None = None,
    out: Path | None = None,
) -> BakeResult:
    """Bake the image of a release: the one named, else the newest of a date, else the current one.

    Args:
        out: another OCI layout to bake into; no event is recorded then.

    Raises:
        MissingStep: there is no such release.
    """
    with outcome(settings, customer, "bake", logical_date) as noted:
        lake = open_lake(settings, customer)
        release = releases.find(lake, release_id=release_id, logical_date=logical_date)
        first = _first_with(lake, release)
        noted.inputs = {"release": release.release_id}
        result = _bake(settings, lake, first, out or layout_of(settings, customer))
        if out is None:
            layers = [layer.model_dump() for layer in result.layers]
            releases.record_image_event(lake, release.release_id, "baked", result.digest, result.bytes, layers)
        noted.counts = {"layers": len(result.layers), "bytes": result.bytes, "bytes_to_ship": result.bytes_to_ship}
        noted.outputs = {"digest": result.digest, "reused": result.reused}
        return result


def layout_of(settings: Settings, customer: str) -> Path:
    """Return the customer's OCI layout."""
    return settings.images(customer) / "layout"


def _first_with(lake: Lake, release: Release) -> Release:
    """Return the first release of the same content: a later date with the same content is no new image."""
    same = [one for one in releases.releases(lake) if one.release_id == release.release_id]
    return min(same, key=lambda one: one.sequence)


def _bake(settings: Settings, lake: Lake, release: Release, layout: Path) -> BakeResult:
    installation = next(one.installation for one in epochs(lake) if one.epoch == release.epoch)
    layout.mkdir(parents=True, exist_ok=True)
    work = Layers(settings, lake, release, installation, layout)
    made = [*work.table_layers(), *work.vector_layers()]
    manifest = work.manifest()
    made.append(work.layer("manifest", {"bytes": manifest}, lambda to: (to / FILE).write_bytes(manifest) and None))
    layers = [layer for layer, _, _ in made]
    title = f"{release.customer}:{release.short_id}"
    labels = {
        "org.opencontainers.image.title": release.customer,
        "org.opencontainers.image.version": release.short_id,
        "cradle.customer": release.customer,
        "cradle.release": release.release_id,
        "cradle.content-digest": release.content_digest,
        "cradle.params-hash": release.params_hash,
    }
    created = release.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    command = ["cradle", "serve", "--root", f"/{PREFIX}"]
    digest, size = oci.append_layers(
        layout, settings.base_layout, layers, created=created, labels=labels, command=command
    )
    oci.name_image(layout, digest, title)
    baked = tuple(
        BakedLayer(name=layer.name, digest=layer.digest, bytes=layer.size, reused=reused) for layer, reused, _ in made
    )
    fresh = sum(layer.bytes for layer in baked if not layer.reused)
    return BakeResult(
        customer=release.customer,
        release_id=release.release_id,
        digest=digest,
        bytes=size,
        bytes_to_ship=fresh,
        layers=baked,
        reused=not fresh,
    )
