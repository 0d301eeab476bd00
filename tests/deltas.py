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
from cradle.delivery.layout import blob_path, blobs_of, ref_of

PROJECT = Path(__file__).parents[1]
NAMES = {"old": "shop:old", "new": "shop:new"}


def image(layout: Path, name: str, layers: list[bytes]) -> str:
    """Write an image of these layers and name it; return its digest."""
    from cradle.bake import oci  # not for the process that dies: it loads the catalog

    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    made = []
    for at, data in enumerate(layers):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blob_path(layout, digest).write_bytes(data)
        made.append(oci.Layer(digest, len(data), digest, oci.LAYER_TYPES[False], f"layer{at}"))
    created = "2024-04-01T00:00:00Z"
    digest, _ = oci.append_layers(layout, None, made, created=created, labels={"image": name}, command=[])
    oci.name_image(layout, digest, name)
    return digest


def copy_of(layout: Path, digest: str, name: str, to: Path) -> Path:
    """Write a layout that holds one image of another layout; return it."""
    from cradle.bake import oci

    (to / "blobs" / "sha256").mkdir(parents=True)
    for one in blobs_of(layout, digest):
        shutil.copyfile(blob_path(layout, one), blob_path(to, one))
    oci.name_image(to, digest, name)
    return to


def tree(folder: Path) -> dict[str, str]:
    """Return path → SHA-256 of every file of a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
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
