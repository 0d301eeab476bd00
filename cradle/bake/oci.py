"""OCI image layouts without an engine: deterministic layers, content-addressed blobs, one index per customer.

Format: the OCI image specification (image layout, manifest, config), written as canonical JSON.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from cradle.errors import ConfigError, VerifyFailed
from cradle.points import point

_TYPE: Final = "application/vnd.oci.image."
MANIFEST_TYPE: Final = _TYPE + "manifest.v1+json"
LAYER_TYPES: Final = {False: _TYPE + "layer.v1.tar", True: _TYPE + "layer.v1.tar+gzip"}
REF_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layer:
    """A layer in a layout: digest and size of the blob, digest of the plain tar, its media type and its name."""

    digest: str
    size: int
    diff_id: str
    media_type: str
    name: str


class _Hashing:
    """Passes bytes on and remembers their digest and count."""

    def __init__(self, sink: IO[bytes] | gzip.GzipFile) -> None:
        self.sink, self.hash, self.count = sink, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.count += len(data)
        self.sink.write(data)
        return len(data)

    def flush(self) -> None:
        self.sink.flush()

    @property
    def digest(self) -> str:
        return "sha256:" + self.hash.hexdigest()


def canonical(content: Any) -> bytes:
    """Return JSON in the one form that is hashed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def blob_path(layout: Path, digest: str) -> Path:
    """Return where a blob lies, whether it exists or not."""
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def write_layer(layout: Path, folder: Path, prefix: str, name: str, *, compress: bool = False) -> Layer:
    """Write a folder's files as one layer below `prefix`: sorted, owner 0, time 0."""
    with _blob(layout) as sink:
        outer = _Hashing(sink)
        packed = gzip.GzipFile("", "wb", 6, outer, mtime=0) if compress else None  # type: ignore[call-overload]
        inner = _Hashing(packed or outer)  # type: ignore[arg-type]
        with tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:  # type: ignore[call-overload]
            for path, inside in _entries(folder, prefix):
                _add(tar, path, inside)
        if packed:
            packed.close()
        sink.keep(outer.digest)
    return Layer(outer.digest, outer.count, inner.digest, LAYER_TYPES[compress], name)


def _entries(folder: Path, prefix: str) -> Iterator[tuple[Path | None, str]]:
    parts = prefix.strip("/").split("/")
    for at in range(1, len(parts) + 1):
        yield None, "/".join(parts[:at])
    for path in sorted(folder.rglob("*"), key=lambda one: one.relative_to(folder).as_posix()):
        yield path, "/".join([*parts, path.relative_to(folder).as_posix()])


def _add(tar: tarfile.TarFile, path: Path | None, inside: str) -> None:
    entry = tarfile.TarInfo(inside)
    entry.uid = entry.gid = entry.mtime = 0
    if path is None or path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        return
    entry.size, entry.mode = path.stat().st_size, 0o644
    with path.open("rb") as stream:
        tar.addfile(entry, stream)


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
def _blob(layout: Path) -> Iterator[Any]:
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=layout, prefix=".blob-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield _Sink(layout, handle, Path(name))
    finally:
        Path(name).unlink(missing_ok=True)


def put_json(layout: Path, content: Any) -> tuple[str, int]:
    """Write a JSON blob and return its digest and size."""
    data = canonical(content)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    if not blob_path(layout, digest).is_file():
        with _blob(layout) as sink:
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


def base_image(base: Path | None, layout: Path) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Return (config, manifest, digest) to append to; the base's blobs are linked into the layout, not copied.

    Raises:
        ConfigError: the base layout holds not exactly one image.
    """
    if base is None:
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
        return config, {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": []}, None
    entries = json.loads((base / "index.json").read_bytes())["manifests"]
    if len(entries) != 1:
        raise ConfigError(f"CRADLE_BASE_LAYOUT={base} holds {len(entries)} images; a base layout holds exactly one.")
    manifest = get_json(base, entries[0]["digest"])
    for entry in manifest["layers"]:
        target = blob_path(layout, entry["digest"])
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _link(blob_path(base, entry["digest"]), target)
    return get_json(base, manifest["config"]["digest"]), manifest, str(entries[0]["digest"])


def _link(source: Path, target: Path) -> None:
    """Let a blob be in two layouts; copied where the two have no file system in common."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            temporary = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, temporary)
            temporary.replace(target)


def append_layers(
    layout: Path, base: Path | None, layers: list[Layer], *, created: str, labels: dict[str, str], command: list[str]
) -> tuple[str, int]:
    """Write config and manifest of a base plus layers; return the manifest's digest and the size of all blobs."""
    config, manifest, base_digest = base_image(base, layout)
    config["created"] = created
    inner = config.setdefault("config", {})
    inner["Labels"] = {**(inner.get("Labels") or {}), **labels}
    inner.update({"Cmd": command, "User": "65532:65532", "WorkingDir": "/"})
    config["rootfs"]["diff_ids"] = [*config["rootfs"]["diff_ids"], *(layer.diff_id for layer in layers)]
    config["history"] = [
        *config.get("history", []),
        *({"created": created, "created_by": f"cradle bake: {layer.name}"} for layer in layers),
    ]
    digest, size = put_json(layout, config)
    entries = [
        {
            "mediaType": layer.media_type,
            "digest": layer.digest,
            "size": layer.size,
            "annotations": {"cradle.layer": layer.name},
        }
        for layer in layers
    ]
    annotations = {"org.opencontainers.image.created": created, **labels}
    if base_digest:
        annotations["org.opencontainers.image.base.digest"] = base_digest
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": _TYPE + "config.v1+json", "digest": digest, "size": size},
        "layers": [*manifest["layers"], *entries],
        "annotations": annotations,
    }
    image, image_size = put_json(layout, manifest)
    return image, size + image_size + sum(entry["size"] for entry in manifest["layers"])


def name_image(layout: Path, digest: str, ref: str) -> None:
    """Let a name stand for an image in the layout's index; nothing is written when it does already."""
    layout.mkdir(parents=True, exist_ok=True)
    with (layout / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        path = layout / "index.json"
        entries = json.loads(path.read_bytes())["manifests"] if path.is_file() else []
        size = blob_path(layout, digest).stat().st_size
        mine: dict[str, Any] = {
            "mediaType": MANIFEST_TYPE,
            "digest": digest,
            "size": size,
            "annotations": {REF_NAME: ref},
        }
        mine["platform"] = {"architecture": "amd64", "os": "linux"}
        others = [entry for entry in entries if entry["annotations"][REF_NAME] != ref]
        entries = sorted([*others, mine], key=lambda entry: str(entry["annotations"][REF_NAME]))
        index = {"schemaVersion": 2, "mediaType": _TYPE + "index.v1+json", "manifests": entries}
        _replace(layout / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        point("index.before")
        _replace(path, canonical(index))
        point("index.after")


def _replace(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
