"""The verb `bake`: one release row → one image in the customer's OCI layout.

The same release on the same base gives the same digest; a layer whose content is known is neither made nor written.
Flow: pins of a release → Parquet, key index, flat index, encoder → layers → manifest → image
Run:  cradle bake demo
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cradle import names, oci, releases
from cradle.bake.assemble import append_layers
from cradle.bake.base import base_layout
from cradle.bake.layers import Layers
from cradle.catalog import Lake, open_lake
from cradle.catalog.epochs import epochs
from cradle.config import Settings
from cradle.customers import load_customer
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
    """An image; `bytes_to_ship` are those of blobs that were not there before, `reused` when there are none."""

    model_config = ConfigDict(frozen=True)

    customer: str
    release_id: str
    digest: str
    base: str | None
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
    base: str | None = None,
    port_base: int | None = None,
) -> BakeResult:
    """Bake the image of a release: the one named, else the newest of a date, else the current one.

    Args:
        out: another OCI layout to bake into; no event is recorded then.
        base: digest of the base image to bake on; none: the newest one.
        port_base: none: the customer's.

    Raises:
        MissingStep: there is no such release.
    """
    with outcome(settings, customer, "bake", logical_date) as noted:
        lake = open_lake(settings, customer)
        release = releases.find(lake, release_id=release_id, logical_date=logical_date)
        first = first_with(lake, release)
        noted.inputs = {"release": release.release_id}
        ports = port_base or load_customer(settings.customers, customer).operation.port_base
        result = _bake(settings, lake, first, out or layout_of(settings, customer), ports, base_layout(settings, base))
        if out is None:
            layers = [layer.model_dump() for layer in result.layers]
            releases.record_image_event(lake, release.release_id, "baked", result.digest, result.bytes, layers)
        noted.counts = {"layers": len(result.layers), "bytes": result.bytes, "bytes_to_ship": result.bytes_to_ship}
        noted.outputs = {"digest": result.digest, "reused": result.reused}
        return result


def layout_of(settings: Settings, customer: str) -> Path:
    """Return the customer's OCI layout."""
    return settings.images(customer) / "layout"


def first_with(lake: Lake, release: Release) -> Release:
    """Return the first release of the same content: a later date with the same content is no new image."""
    same = [one for one in releases.releases(lake) if one.release_id == release.release_id]
    return min(same, key=lambda one: one.sequence)


def _bake(
    settings: Settings, lake: Lake, release: Release, layout: Path, port_base: int, base: Path | None
) -> BakeResult:
    installation = next(one.installation for one in epochs(lake) if one.epoch == release.epoch)
    layout.mkdir(parents=True, exist_ok=True)
    work = Layers(settings, lake, release, installation, layout)
    made = [
        *work.table_layers(),
        *work.vector_layers(),
        *work.original_layers(),
        *work.note_layers(before(lake, release)),
    ]
    base_digest = oci.image_of(base) if base else None
    manifest = work.manifest(base_digest, port_base)
    made.append(work.layer("manifest", {"bytes": manifest}, lambda to: (to / FILE).write_bytes(manifest) and None))
    created = release.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest, size = append_layers(
        layout,
        base,
        [layer for layer, _, _ in made],
        created=created,
        labels=_labels(release, work, base_digest),
        config=_config(port_base),
    )
    oci.name_image(layout, digest, f"{release.customer}:{release.short_id}")
    fresh = [entry for entry in oci.blobs_of(layout, digest) if entry["digest"] not in work.there]
    return BakeResult(
        customer=release.customer,
        release_id=release.release_id,
        digest=digest,
        base=base_digest,
        bytes=size,
        bytes_to_ship=sum(entry["size"] for entry in fresh),
        layers=tuple(
            BakedLayer(name=layer.name, digest=layer.digest, bytes=layer.size, reused=reused)
            for layer, reused, _ in made
        ),
        reused=not fresh,
    )


def before(lake: Lake, release: Release) -> Release | None:
    """Return the release that was current when this one was made; it stays the same one for ever."""
    made = [one for one in releases.releases(lake) if one.sequence < release.sequence]
    return next((one for one in reversed(made) if one.release_id != release.release_id), None)


def _labels(release: Release, work: Layers, base: str | None) -> dict[str, str]:
    """Return what `docker inspect` shows; the names are those of the OCI image specification, and our own."""
    labels = {
        "org.opencontainers.image.title": release.customer,
        "org.opencontainers.image.version": release.short_id,
        "org.opencontainers.image.created": release.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "org.opencontainers.image.revision": release.code_version,
        "cradle.customer": release.customer,
        "cradle.release": release.release_id,
        "cradle.logical-date": release.logical_date.isoformat(),
        "cradle.content-digest": release.content_digest,
        "cradle.params-hash": release.params_hash,
        "cradle.epoch": str(release.epoch),
    }
    if base:
        labels["org.opencontainers.image.base.digest"] = base
    if work.encoder:
        labels |= {"cradle.model-key": work.encoder.model_key, "cradle.encoder-loss": f"{work.encoder.loss:.6f}"}
    return labels


def _config(port_base: int) -> dict[str, Any]:
    return {
        "User": names.IMAGE_USER,
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "ExposedPorts": {f"{port_base + above}/tcp": {} for above in (names.API, names.DASHBOARDS)},
    }
