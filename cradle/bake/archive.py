"""One image as one tar that `docker load`, `podman load` and skopeo read.

Format: an OCI image layout that also holds Docker's `manifest.json`, which engines before 25 read.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import IO, Any, Final

from cradle.bake import oci

# What an engine calls the image: `docker load` reads the first, containerd's image store the second.
NAMES: Final = (oci.REF_NAME, "io.containerd.image.name")


def write_archive(layout: Path, image: str, name: str, sink: IO[bytes]) -> None:
    """Write an image of a layout as a tar stream; the same image and name give the same bytes.

    Args:
        image: digest of its manifest.
        name: full name under which the engine will know it, for example `localhost/cradle/demo:0d2f03a9a9cb`.
    """
    entries = oci.blobs_of(layout, image)
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", oci.canonical(_index(entries[0], name)))
        _add(tar, "manifest.json", oci.canonical(_docker(entries, name)))
        for digest in dict.fromkeys(entry["digest"] for entry in entries):
            with oci.blob_path(layout, digest).open("rb") as stream:
                entry = _entry(_path(digest), oci.blob_path(layout, digest).stat().st_size)
                tar.addfile(entry, stream)


def _index(image: dict[str, Any], name: str) -> dict[str, Any]:
    platform = {"architecture": "amd64", "os": "linux"}
    annotations = dict.fromkeys(NAMES, name)
    entry = {**image, "mediaType": oci.MANIFEST_TYPE, "platform": platform, "annotations": annotations}
    return {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": [entry]}


def _docker(entries: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    _, config, *layers = (_path(entry["digest"]) for entry in entries)
    return [{"Config": config, "RepoTags": [name], "Layers": layers}]


def _path(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_entry(name, len(data)), io.BytesIO(data))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    entry.uid = entry.gid = entry.mtime = 0
    return entry
