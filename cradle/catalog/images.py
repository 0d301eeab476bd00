"""Events of images: baked, verified, published."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from cradle.catalog import ops
from cradle.catalog.lake import Lake
from cradle.catalog.pins import find_pin
from cradle.digest import step_key

TABLE = "ops.images"


def record_image_event(
    lake: Lake, release_id: str, event: str, digest: str, size: int, layers: list[dict[str, Any]], **by: Any
) -> None:
    """Append one event of an image (`baked`, `verified`, `published`), once.

    Args:
        by: what else tells it from others of its kind, for example the checks that were passed.
    """
    row = {
        "release_id": release_id,
        "event": event,
        "digest": digest,
        "bytes": size,
        "layers": json.dumps(layers, sort_keys=True),
        "happened_at": datetime.now(UTC),
    }
    ops.append(lake, TABLE, ops.IMAGES, [row], _key(release_id, event, digest, by))


def happened(lake: Lake, release_id: str, event: str, digest: str, **by: Any) -> bool:
    """Tell whether an event of an image was recorded; no rows are read."""
    return find_pin(lake, TABLE, _key(release_id, event, digest, by)) is not None


def _key(release_id: str, event: str, digest: str, by: dict[str, Any]) -> str:
    return step_key("image", release=release_id, event=event, digest=digest, **by)


def image_events(lake: Lake, release_id: str | None = None) -> list[dict[str, Any]]:
    """Return the events of images, oldest first; all, or those of one release."""
    events = [row for row in ops.rows(lake, TABLE) if release_id in (None, row["release_id"])]
    return sorted(events, key=lambda row: row["happened_at"])
