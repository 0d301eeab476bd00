"""One image as one tar that `docker load`, `podman load` and skopeo read.

Format: an OCI image layout that also holds Docker's `manifest.json`, which engines before 25 read.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import IO, Final

from cradle import oci

CONTAINERD_NAME: Final = "io.containerd.image.name"  # what containerd's image store calls it


def write_archive(layout: Path, image: str, name: str, sink: IO[bytes]) -> None:
    """Write an image of a layout as a tar stream; the same image and name give the same bytes.

    Args:
        image: digest of its manifest.
        name: full name under which the engine will know it, for example `localhost/cradle/demo:0d2f03a9a9cb`.
    """
    index = oci.index_entry(layout, image, name)
    index["annotations"][CONTAINERD_NAME] = name
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        _add(tar, "oci-layout", oci.LAYOUT)
        _add(tar, "index.json", oci.canonical(oci.index_of([index])))
        _add(tar, "manifest.json", oci.docker_list(oci.get_json(layout, image), name))
        for digest in dict.fromkeys(entry["digest"] for entry in oci.blobs_of(layout, image)):
            path = oci.blob_path(layout, digest)
            with path.open("rb") as stream:
                tar.addfile(_entry(path.relative_to(layout).as_posix(), path.stat().st_size), stream)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_entry(name, len(data)), io.BytesIO(data))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    entry.uid = entry.gid = entry.mtime = 0
    return entry
