"""What a customer's current release and its image are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cradle.config import Settings
from cradle.errors import MissingStep


def image_root(found: Settings, customer: str, release_id: str | None = None) -> Path:
    """Unpack the image of a release (none: the current one) and return its folder.

    Raises:
        MissingStep: there is no such release, or it was never baked.
    """
    from cradle import releases
    from cradle.bake.unpack import images, unpack
    from cradle.catalog import open_lake

    release = releases.find(open_lake(found, customer), release_id=release_id)
    digest = images(found.images(customer) / "layout").get(f"{customer}:{release.short_id}")
    if digest is None:
        raise MissingStep(f"release {release.short_id} of {customer} has no image. Run `cradle bake {customer}`.")
    return unpack(found, customer, digest)


def status_of(found: Settings, customer: str) -> dict[str, Any]:
    """Return the last release of a customer: its tables, rejects, vectors and image."""
    from cradle import releases
    from cradle.catalog import open_lake
    from cradle.catalog.epochs import epochs
    from cradle.customers import load_customer
    from cradle.stale import stale_of

    load_customer(found.customers, customer)
    lake = open_lake(found, customer)
    current = releases.current(lake)
    content: dict[str, Any] = {"customer": customer, "environment": found.environment, "release": None}
    if current is None:
        return content
    model = next(one.installation.embedding.model for one in epochs(lake) if one.epoch == current.epoch)
    events = releases.image_events(lake, current.release_id)
    baked = [event for event in events if event["event"] == "baked"]
    content["release"] = {
        "id": current.release_id,
        "logical_date": current.logical_date.isoformat(),
        "sequence": current.sequence,
        "same_as": current.same_as.isoformat() if current.same_as else None,
        "created_at": current.created_at.isoformat(),
        "tables": {name: {"snapshot_id": pin.snapshot_id, "rows": pin.rows} for name, pin in current.pins.items()},
    }
    content["rejects"] = current.rejects
    vectors = current.collection
    content["vectors"] = {
        "count": vectors.count if vectors else 0,
        "dimension": vectors.dimension if vectors else None,
        "model": model if vectors else None,
    }
    content["image"] = _image(baked[-1], events) if baked else None
    content["stale"] = [one.model_dump(mode="json") for one in stale_of(lake)]
    return content


def _image(baked: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "digest": baked["digest"],
        "bytes": baked["bytes"],
        "layers": json.loads(baked["layers"]),
        "verified": any(one["event"] == "verified" and one["digest"] == baked["digest"] for one in events),
    }
