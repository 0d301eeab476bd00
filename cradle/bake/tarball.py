"""Writes image layers: folders and ready tars, always as the same bytes.

Format: layers of the OCI image specification; plain tar, or gzip of it.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from cradle.bake.gzipped import Gzipped
from cradle.oci import Layer, blob

_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_TYPES: Final = {False: _TYPE, True: _TYPE + "+gzip"}


class _Hashing:
    """Passes bytes on and remembers their digest and count."""

    def __init__(self, sink: IO[bytes] | Gzipped) -> None:
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


def write_layer(layout: Path, folder: Path, prefix: str, name: str, *, compress: bool = False) -> Layer:
    """Write a folder's files as one layer below `prefix`: sorted, owner 0, time 0."""
    with blob(layout) as sink:
        outer = _Hashing(sink)
        packed = Gzipped(outer) if compress else None  # type: ignore[arg-type]
        inner = _Hashing(packed or outer)  # type: ignore[arg-type]
        with tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:  # type: ignore[call-overload]
            for path, inside in _entries(folder, prefix):
                _add(tar, path, inside)
        if packed:
            packed.close()
        sink.keep(outer.digest)
    return Layer(outer.digest, outer.count, inner.digest, LAYER_TYPES[compress], name)


def write_tar_layer(layout: Path, tar: Path, name: str) -> Layer:
    """Write a ready tar as one gzip layer."""
    with blob(layout) as sink, tar.open("rb") as stream:
        outer = _Hashing(sink)
        packed = Gzipped(outer)  # type: ignore[arg-type]
        inner = _Hashing(packed)
        shutil.copyfileobj(stream, inner, 1 << 20)
        packed.close()
        sink.keep(outer.digest)
    return Layer(outer.digest, outer.count, inner.digest, LAYER_TYPES[True], name)


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
