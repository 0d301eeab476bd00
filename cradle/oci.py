"""OCI image layouts without an engine: content-addressed blobs, one index; in the factory and in an installed image.

Format: the OCI image specification (image layout, manifest, config), written as canonical JSON.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from cradle.digest import file_sha256
from cradle.errors import ConfigError, VerifyFailed
from cradle.points import point

_TYPE: Final = "application/vnd.oci.image."
MANIFEST_TYPE: Final = _TYPE + "manifest.v1+json"
INDEX_TYPE: Final = _TYPE + "index.v1+json"
PREFIX: Final = "cradle"  # folder of the image that holds the data
DATA: Final = "cradle.layer"  # annotation of a layer that holds a release's data
REF_NAME: Final = "org.opencontainers.image.ref.name"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True)
class Layer:
    """A layer in a layout: digest and size of the blob, digest of the plain tar, its media type and its name."""

    digest: str
    size: int
    diff_id: str
    media_type: str
    name: str


def canonical(content: Any) -> bytes:
    """Return JSON in the one form that is hashed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def blob_path(layout: Path, digest: str) -> Path:
    """Return where a blob lies, whether it exists or not."""
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


class _Sink:
    """A temporary file that becomes a blob under its digest."""

    def __init__(self, layout: Path, handle: IO[bytes], name: Path) -> None:
        self.layout, self.handle, self.name = layout, handle, name

    def write(self, data: bytes) -> int:
        return self.handle.write(data)

    def flush(self) -> None:
        self.handle.flush()

    def keep(self, digest: str) -> None:
        self.handle.flush()
        os.fsync(self.handle.fileno())
        target = blob_path(self.layout, digest)
        self.name.chmod(0o644)
        point("blob.before")
        self.name.replace(target)
        point("blob.after")


@contextlib.contextmanager
def blob(layout: Path) -> Iterator[Any]:
    """Yield a file that becomes a blob when its digest is told to `keep`; else nothing is left of it."""
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=layout, prefix=".blob-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield _Sink(layout, handle, Path(name))
    finally:
        Path(name).unlink(missing_ok=True)


def digests(layout: Path) -> set[str]:
    """Return the digests of all blobs of a layout."""
    folder = layout / "blobs" / "sha256"
    return {f"sha256:{path.name}" for path in folder.iterdir()} if folder.is_dir() else set()


def put_json(layout: Path, content: Any) -> tuple[str, int]:
    """Write a JSON blob and return its digest and size."""
    data = canonical(content)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    if not blob_path(layout, digest).is_file():
        with blob(layout) as sink:
            sink.write(data)
            sink.keep(digest)
    return digest, len(data)


def get_json(layout: Path, digest: str) -> Any:
    """Read a JSON blob.

    Raises:
        VerifyFailed: it is missing or its bytes are not those of its digest.
    """
    path = blob_path(layout, digest)
    if not path.is_file():
        raise VerifyFailed(f"blob {digest} is missing in {layout}.")
    data = path.read_bytes()
    if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
        raise VerifyFailed(f"blob {digest} in {layout} is damaged.")
    return json.loads(data)


def file_of(layout: Path, manifest: dict[str, Any], layer: str, name: str) -> bytes:
    """Return one file of the data layer with a name.

    Raises:
        VerifyFailed: the image has no such layer or file.
    """
    for entry in manifest["layers"]:
        if entry.get("annotations", {}).get(DATA) == layer:
            with tarfile.open(blob_path(layout, entry["digest"])) as tar:
                stream = tar.extractfile(f"{PREFIX}/{name}")
                if stream is not None:
                    return stream.read()
    raise VerifyFailed(f"the image in {layout} has no {name} in a layer {layer}.")


def sha256(data: bytes) -> str:
    """Return the SHA-256 (hex) of some bytes."""
    return hashlib.sha256(data).hexdigest()


def docker_list(image: dict[str, Any], name: str) -> bytes:
    """Return Docker's own list of an image's blobs in a layout, which engines before 25 read.

    Args:
        image: the image manifest.
        name: how the engine will call it.
    """
    config, *layers = (blob_path(Path(), one["digest"]).as_posix() for one in (image["config"], *image["layers"]))
    return canonical([{"Config": config, "RepoTags": [name], "Layers": layers}])


def image_of(base: Path) -> str:
    """Return the digest of the one image of a base layout.

    Raises:
        ConfigError: it holds none or several.
    """
    entries = json.loads((base / "index.json").read_bytes())["manifests"]
    if len(entries) != 1:
        raise ConfigError(f"CRADLE_BASE_LAYOUT={base} holds {len(entries)} images; a base layout holds exactly one.")
    return str(entries[0]["digest"])


def blobs_of(layout: Path, image: str) -> list[dict[str, Any]]:
    """Return the descriptors (digest, size) of all blobs of an image, the image manifest first."""
    manifest = get_json(layout, image)
    size = blob_path(layout, image).stat().st_size
    return [{"digest": image, "size": size}, manifest["config"], *manifest["layers"]]


def refuse_damaged(layout: Path, digest: str) -> None:
    """Hash a blob.

    Raises:
        VerifyFailed: its bytes are not those of its digest.
    """
    found = f"sha256:{file_sha256(blob_path(layout, digest))}"
    if found != digest:
        raise VerifyFailed(f"blob {digest} is damaged: its bytes hash to {found}.")


@contextlib.contextmanager
def index_lock(layout: Path) -> Iterator[None]:
    """Be the only one who changes a layout's index."""
    layout.mkdir(parents=True, exist_ok=True)
    with (layout / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def name_image(layout: Path, digest: str, ref: str) -> None:
    """Let a name stand for an image in the layout's index; nothing is written when it does already."""
    with index_lock(layout):
        others = [entry for entry in _entries(layout) if entry["annotations"][REF_NAME] != ref]
        _write_index(layout, [*others, index_entry(layout, digest, ref)])


def drop_names(layout: Path, refs: set[str]) -> None:
    """Let names stand for nothing; the caller holds the lock of the index."""
    _write_index(layout, [entry for entry in _entries(layout) if entry["annotations"][REF_NAME] not in refs])


def index_entry(layout: Path, digest: str, ref: str) -> dict[str, Any]:
    """Return what a layout's index says of one image."""
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": digest,
        "size": blob_path(layout, digest).stat().st_size,
        "annotations": {REF_NAME: ref},
        "platform": {"architecture": "amd64", "os": "linux"},
    }


def index_of(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the index of a layout with these entries."""
    ordered = sorted(entries, key=lambda entry: str(entry["annotations"][REF_NAME]))
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered}


def _entries(layout: Path) -> list[dict[str, Any]]:
    path = layout / "index.json"
    found: list[dict[str, Any]] = json.loads(path.read_bytes())["manifests"] if path.is_file() else []
    return found


def _write_index(layout: Path, entries: list[dict[str, Any]]) -> None:
    _replace(layout / "oci-layout", LAYOUT)
    point("index.before")
    _replace(layout / "index.json", canonical(index_of(entries)))
    point("index.after")


def _replace(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or as it was, whatever happens."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the renames in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
