"""Removes from a customer's layout what no kept release needs; the archive is never touched.

Kept are the first release, the current one, those inside retention, and what was published last. A blob that was made
or used within the last hours stays: a bake may be about to name it.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from cradle import oci, releases
from cradle.bake.image import layout_of
from cradle.bake.unpack import images, root_of
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.delivery.publish import versions
from cradle.outcomes import outcome

GUARD_SECONDS: Final = 6 * 3600


class Collected(BaseModel):
    """What was removed, or would be."""

    model_config = ConfigDict(frozen=True)

    customer: str
    dry_run: bool
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    blobs: int
    bytes: int


def collect(
    settings: Settings, customer: str, *, dry_run: bool = False, guard_seconds: float = GUARD_SECONDS
) -> Collected:
    """Remove images that are not kept, and the blobs that only they had.

    Args:
        dry_run: only tell what would be removed.
        guard_seconds: how long a blob stays after it was last used.
    """
    with outcome(settings, customer, "collect", None) as noted:
        layout = layout_of(settings, customer)
        with oci.index_lock(layout):
            known = images(layout)
            kept = {name: digest for name, digest in known.items() if name in _kept(settings, customer)}
            dropped = {name: digest for name, digest in known.items() if name not in kept}
            needed = {entry["digest"] for digest in kept.values() for entry in oci.blobs_of(layout, digest)}
            oldest = time.time() - guard_seconds
            stale = [
                path
                for path in sorted((layout / "blobs" / "sha256").glob("[0-9a-f]*"))
                if f"sha256:{path.name}" not in needed and path.stat().st_mtime < oldest
            ]
            size = sum(path.stat().st_size for path in stale)
            if not dry_run:
                # The names go first: a kill in between leaves blobs that nobody names, and the next call removes them.
                oci.drop_names(layout, set(dropped))
                for digest in set(dropped.values()) - set(kept.values()):
                    shutil.rmtree(root_of(settings, customer, digest), ignore_errors=True)
                for path in stale:
                    path.unlink()
                _forget_hints(layout)
        noted.counts = {"blobs": len(stale), "bytes": size, "images": len(dropped)}
        return Collected(
            customer=customer,
            dry_run=dry_run,
            kept=tuple(sorted(kept)),
            dropped=tuple(sorted(dropped)),
            blobs=len(stale),
            bytes=size,
        )


def _kept(settings: Settings, customer: str) -> set[str]:
    """Return the names of the images that stay."""
    known = releases.releases(open_lake(settings, customer))
    if not known:
        return set()
    days = load_customer(settings.customers, customer).operation.retention_days
    since = datetime.now(UTC) - timedelta(days=days)
    stay = [min(known, key=lambda one: one.sequence), known[-1], *(one for one in known if one.created_at >= since)]
    published = [one.short_id for one in versions(settings, customer)[-1:]]
    return {f"{customer}:{short}" for short in [*(one.short_id for one in stay), *published]}


def _forget_hints(layout: Path) -> None:
    """Remove the notes about layers whose blobs are gone."""
    for hint in (layout / "layers").glob("*.json"):
        if not oci.blob_path(layout, json.loads(hint.read_bytes())["layer"]["digest"]).is_file():
            hint.unlink()
