"""The customer's documents as they were delivered, so that a citation opens its page."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any, Final

from cradle.catalog import Lake, Pin, read
from cradle.config import Settings
from cradle.digest import file_sha256
from cradle.errors import MissingStep
from cradle.manifest import OriginalEntry
from cradle.store import fetch_original

FORMAT: Final = 1
COLUMNS: Final = ("document_id", "source_file", "media_type", "file_sha256")
FEW: Final = 16  # so many files are one layer; more are cut by the first digit of their hash


def documents(lake: Lake, pin: Pin) -> list[dict[str, Any]]:
    """Return id, path, media type and hash of every document, in the order of their hashes."""
    rows: list[dict[str, Any]] = read(lake, pin, COLUMNS).to_pylist()
    return sorted(rows, key=lambda row: (row["file_sha256"], row["document_id"]))


def entries(found: list[dict[str, Any]]) -> dict[str, OriginalEntry]:
    """Return document id → its file in the image."""
    return {
        row["document_id"]: OriginalEntry(
            file=_file(row["file_sha256"]),
            name=PurePosixPath(row["source_file"]).name,
            media_type=row["media_type"] or "application/octet-stream",
        )
        for row in found
    }


def parts(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return layer → hashes of its files."""
    digests = sorted({row["file_sha256"] for row in found})
    if len(digests) <= FEW:
        return {"originals": digests} if digests else {}
    cut: dict[str, list[str]] = {}
    for digest in digests:
        cut.setdefault(f"originals-{digest[0]}", []).append(digest)
    return cut


def export(settings: Settings, customer: str, digests: list[str], folder: Path) -> None:
    """Copy originals into a layer's folder.

    Raises:
        MissingStep: an original is not there, or no longer what it was.
    """
    for digest in digests:
        source = settings.files(customer) / "originals" / digest[:2] / digest
        fetch_original(settings, customer, digest, source)
        if not source.is_file() or file_sha256(source) != digest:
            raise MissingStep(
                f"original {digest} of {customer} is not in {source.parent}, or is damaged. Restore it from the backup."
            )
        target = folder / _file(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _file(digest: str) -> str:
    return f"originals/{digest}"
