"""Unpacks an image of a layout into a folder, as a container engine would, for serving and for checks."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from cradle import oci
from cradle.config import Settings
from cradle.errors import MissingStep, VerifyFailed
from cradle.points import point

PREFIX = "cradle/"


def images(layout: Path) -> dict[str, str]:
    """Return name → digest of every image of a layout.

    Raises:
        VerifyFailed: its index is damaged.
    """
    path = layout / "index.json"
    if not path.is_file():
        return {}
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())["manifests"]
        return {entry["annotations"][oci.REF_NAME]: entry["digest"] for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise VerifyFailed(
            f"{path} is damaged: {error}. Delete it and run `cradle bake <customer>`; the layers are kept."
        ) from error


def root_of(settings: Settings, customer: str, digest: str) -> Path:
    """Return where an image is unpacked, whether it exists or not."""
    return settings.images(customer) / "roots" / digest.removeprefix("sha256:")


def unpack(settings: Settings, customer: str, digest: str) -> Path:
    """Unpack an image of the customer's layout, unless it is unpacked already; return its root."""
    target = root_of(settings, customer, digest)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
        try:
            unpack_into(settings.images(customer) / "layout", digest, folder)
            point("unpack.before")
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return target


def unpack_into(layout: Path, digest: str, folder: Path) -> None:
    """Unpack the data layers of an image; blobs are hashed while they are read.

    Raises:
        MissingStep: a blob is not there.
        VerifyFailed: a blob is damaged, or a layer reaches outside its folder.
    """
    for entry in oci.get_json(layout, digest)["layers"]:
        if "cradle.layer" not in entry.get("annotations", {}):
            continue  # of the base
        blob = oci.blob_path(layout, entry["digest"])
        if not blob.is_file():
            raise MissingStep(f"layer {entry['digest']} of {digest} is not in {layout}. Bake the release again.")
        with blob.open("rb") as stream:
            found = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        if found != entry["digest"]:
            name = entry["annotations"]["cradle.layer"]
            raise VerifyFailed(f"layer {name} ({entry['digest']}) is damaged: its bytes hash to {found}.")
        with tarfile.open(blob, "r:*") as tar:
            _extract(tar, folder)


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    for entry in tar:
        inside = entry.name.removeprefix(PREFIX)
        if entry.isdir():
            continue
        target = (folder / inside).resolve()
        if not entry.isfile() or not entry.name.startswith(PREFIX) or folder.resolve() not in target.parents:
            raise VerifyFailed(f"layer entry {entry.name!r} is no plain file below {PREFIX}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(entry)
        assert source is not None
        with source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
