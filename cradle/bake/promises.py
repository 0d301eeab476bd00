"""The checks of `cradle verify` that look at an unpacked image as a whole, beside those of single tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cradle.bake.enclosed import check_enclosed
from cradle.bake.exports import check_exports
from cradle.bake.identity import check_identity
from cradle.bake.probe import check_encoder
from cradle.bake.scan import no_leaks, no_secrets
from cradle.manifest import Manifest


def promises(layout: Path, digest: str, root: Path, manifest: Manifest) -> dict[str, Callable[[], str]]:
    """Return name → check; a check returns what it found, or raises what is wrong."""
    return {
        "identity": lambda: check_identity(layout, digest, manifest),
        "exports": lambda: check_exports(root, manifest),
        "enclosed": lambda: check_enclosed(root, manifest),
        "leaks": lambda: no_leaks(root, manifest.customer),
        "secrets": lambda: no_secrets(root),
        "encoder": lambda: check_encoder(root, manifest),
    }
