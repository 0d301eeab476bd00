"""Layouts with small images for the tests of deltas, and a process that applies one and kills itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from cradle.delivery.apply import apply_delta
from cradle.delivery.layout import REF_NAME, blob_path, blobs_of, canonical, index_with, ref_of

PROJECT = Path(__file__).parents[1]
TYPE = "application/vnd.oci.image."
NAMES = {"old": "shop:old", "new": "shop:new"}


def image(layout: Path, name: str, layers: list[bytes]) -> str:
    """Write an image of these layers and name it; return its digest."""
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": TYPE + "manifest.v1+json",
        "config": {"mediaType": TYPE + "config.v1+json", **_put(layout, canonical(config))},
        "layers": [{"mediaType": TYPE + "layer.v1.tar", **_put(layout, data)} for data in layers],
    }
    described = _put(layout, canonical(manifest))
    _name(layout, described, name)
    return str(described["digest"])


def copy_of(layout: Path, digest: str, name: str, to: Path) -> Path:
    """Write a layout that holds one image of another layout; return it."""
    (to / "blobs" / "sha256").mkdir(parents=True)
    for one in blobs_of(layout, digest):
        shutil.copyfile(blob_path(layout, one), blob_path(to, one))
    _name(to, {"digest": digest, "size": blob_path(to, digest).stat().st_size}, name)
    return to


def _put(layout: Path, data: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blob_path(layout, digest).write_bytes(data)
    return {"digest": digest, "size": len(data)}


def _name(layout: Path, described: dict[str, Any], name: str) -> None:
    entry = {"mediaType": TYPE + "manifest.v1+json", **described, "annotations": {REF_NAME: name}}
    path = layout / "index.json"
    (layout / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    if not path.is_file():
        path.write_bytes(canonical({"manifests": []}))
    path.write_bytes(index_with(layout, entry, ""))


def tree(folder: Path) -> dict[str, str]:
    """Return path → SHA-256 of every file of a folder, hidden ones too; the lock holds nothing."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def named(layout: Path) -> dict[str, str]:
    """Return name → digest of the images that the index names."""
    entries: list[dict[str, Any]] = json.loads((layout / "index.json").read_bytes())["manifests"]
    return {ref_of(entry): entry["digest"] for entry in entries}


def apply_and_die(delta: Path, layout: Path, at: int) -> subprocess.CompletedProcess[str]:
    """Apply a delta in a process that kills itself at its `at`-th point; its output tells the points it reached."""
    command = [sys.executable, "-m", "tests.deltas", str(delta), str(layout), str(at)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def _main(delta: str, layout: str, at: str) -> None:
    from cradle.points import LISTENERS

    reached: list[str] = []

    def listen(name: str) -> None:
        reached.append(name)
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        if len(reached) == int(at):
            os.kill(os.getpid(), signal.SIGKILL)

    LISTENERS.append(listen)
    apply_delta(Path(delta), Path(layout), public_key=None, signature=None)


if __name__ == "__main__":
    _main(*sys.argv[1:])
