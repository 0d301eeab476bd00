"""Tells which files a damaged layer takes with it, so that a report can name more than a digest."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cradle import oci
from cradle.errors import VerifyFailed
from cradle.manifest import FILE, Manifest

PREFIX = "cradle/"
# What reading a damaged archive may raise.
UNREADABLE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error)


def damaged_files(layout: Path, image: dict[str, Any], layer: dict[str, Any]) -> list[str]:
    """Return the files of a layer whose bytes are not those that the release manifest promises.

    Args:
        image: the image manifest.
        layer: the entry in it of a layer that is known to be damaged.
    """
    if layer.get("annotations", {}).get("cradle.layer") == "manifest":
        return [FILE]
    promised = _promised(layout, image)
    found: list[str] = []
    try:
        with tarfile.open(oci.blob_path(layout, layer["digest"]), "r:*") as tar:
            for entry in tar:
                name = entry.name.removeprefix(PREFIX)
                if entry.isfile() and _sha256(tar, entry) != promised.get(name):
                    found.append(name)
    except UNREADABLE:
        pass  # the files that can still be read are named
    return found


def _promised(layout: Path, image: dict[str, Any]) -> dict[str, str]:
    for layer in image["layers"]:
        if layer.get("annotations", {}).get("cradle.layer") == "manifest":
            try:
                with tarfile.open(oci.blob_path(layout, layer["digest"])) as tar:
                    stream = tar.extractfile(PREFIX + FILE)
                    assert stream is not None
                    manifest = Manifest.model_validate_json(stream.read())
            except (*UNREADABLE, KeyError, ValidationError, VerifyFailed):
                return {}
            return {name: entry.sha256 for name, entry in manifest.files.items()}
    return {}


def _sha256(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    stream = tar.extractfile(entry)
    assert stream is not None
    whole = hashlib.sha256()
    while part := stream.read(1 << 20):
        whole.update(part)
    return whole.hexdigest()
