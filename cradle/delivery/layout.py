"""An OCI layout folder as the one who applies a delta sees it: nothing in it is believed before it was looked at."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cradle.digest import file_sha256
from cradle.errors import VerifyFailed
from cradle.oci import INDEX_TYPE, REF_NAME, blob_path, canonical

MANIFEST_LIMIT: Final = 4 << 20  # bytes; what registries allow
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(value: object) -> bool:
    """Tell whether a value is a digest that may name a blob."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def index_entries(layout: Path) -> list[dict[str, Any]]:
    """Return the images that the index names.

    Raises:
        VerifyFailed: there is no index, or it can't be read.
    """
    path = layout / "index.json"
    try:
        entries = json.loads(path.read_bytes())["manifests"]
        if all(is_digest(entry["digest"]) for entry in entries):
            return list(entries)
    except FileNotFoundError:
        raise VerifyFailed(f"{layout} is no OCI layout: it holds no index.json.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerifyFailed(f"{path} is damaged: {error!r}. Load the image into the layout anew.") from error
    raise VerifyFailed(f"{path} is damaged: it names an image by something else than a sha256 digest.")


def ref_of(entry: dict[str, Any]) -> str:
    """Return the name under which the index knows an image; empty when it has none."""
    return str((entry.get("annotations") or {}).get(REF_NAME, ""))


def blobs_of(layout: Path, digest: str) -> dict[str, int]:
    """Return digest → size of all blobs of an image: its image manifest, its config, its layers, in this order.

    Raises:
        VerifyFailed: the image manifest is missing, damaged, or none.
    """
    path = blob_path(layout, digest)
    if not path.is_file():
        raise VerifyFailed(f"{layout} does not hold image {digest}: blob {digest} is missing.")
    with path.open("rb") as stream:
        data = stream.read(MANIFEST_LIMIT + 1)
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise VerifyFailed(f"blob {digest} in {layout} is damaged.")
    try:
        manifest = json.loads(data)
        found = {digest: len(data)}
        for entry in (manifest["config"], *manifest["layers"]):
            found[entry["digest"]] = entry["size"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerifyFailed(f"blob {digest} in {layout} is no image manifest: {error!r}.") from error
    if not all(is_digest(one) and type(size) is int for one, size in found.items()):
        raise VerifyFailed(f"blob {digest} in {layout} is no image manifest: it names a blob by no sha256 digest.")
    return found


def check_blob(layout: Path, digest: str, size: int) -> None:
    """Hash a blob.

    Raises:
        VerifyFailed: it is missing or damaged; the message names it.
    """
    path = blob_path(layout, digest)
    if not path.is_file():
        raise VerifyFailed(f"blob {digest} is missing in {layout}. Load the image into the layout anew.")
    if not is_sound(layout, digest, size):
        raise VerifyFailed(f"blob {digest} in {layout} is damaged. Load the image into the layout anew.")


def is_sound(layout: Path, digest: str, size: int) -> bool:
    """Tell whether a blob is there with these bytes."""
    path = blob_path(layout, digest)
    if not path.is_file() or path.stat().st_size != size:
        return False
    return f"sha256:{file_sha256(path)}" == digest


def index_with(layout: Path, entry: dict[str, Any], instead_of: str) -> bytes:
    """Return the index in which one image stands where another stood; all others stay."""
    gone = {instead_of, entry["digest"]}
    others = [
        one
        for one in index_entries(layout)
        if one["digest"] not in gone and (ref_of(one) == "" or ref_of(one) != ref_of(entry))
    ]
    entries = sorted([*others, entry], key=lambda one: (ref_of(one), str(one["digest"])))
    return canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})


@contextlib.contextmanager
def locked(layout: Path) -> Iterator[None]:
    """Let one process at a time write a layout.

    Raises:
        VerifyFailed: there is no such layout.
    """
    if not (layout / "index.json").is_file():
        raise VerifyFailed(f"{layout} is no OCI layout: it holds no index.json.")
    with (layout / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
