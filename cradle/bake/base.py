"""The base of all images: Debian, Python and the extra `serve`, as an OCI layout with one image.

One base per state of the code; the same packages give the same digest.
Flow: docker/base/rootfs.sh (or its wrapper for container tools) → rootfs.tar → layers → bases/<digest>
Run:  cradle base build
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cradle import __version__, names, oci
from cradle.bake.assemble import append_layers
from cradle.bake.sbom import FILE as SBOM
from cradle.bake.sbom import bill_of_materials
from cradle.bake.tarball import write_layer, write_tar_layer
from cradle.config import PROJECT, Settings, clean_environment
from cradle.digest import canonical_hash, file_sha256
from cradle.errors import ConfigError, MissingStep
from cradle.files import write_whole
from cradle.log import get

log = get("base")
RECIPE: Final = PROJECT / "docker" / "base" / "rootfs.sh"
OWN: Final = ("cradle", "streamlit_apps")  # packages in a layer of their own
SECOND: Final = 1_000_000_000  # the engine counts in nanoseconds
CONFIG: Final[dict[str, Any]] = {
    "User": names.IMAGE_USER,
    "Env": [
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "LANG=C.UTF-8",
        "HOME=/tmp",
        "PYTHONUNBUFFERED=1",
        "PYTHONDONTWRITEBYTECODE=1",
    ],
    "Entrypoint": ["/usr/bin/python3", "-P", "-m", "cradle.serve"],
    "WorkingDir": "/",
    "Volumes": {"/state": {}},
    "StopSignal": "SIGTERM",
    "Healthcheck": {
        "Test": ["CMD", "/usr/bin/python3", "-P", "-m", "cradle.serve", "health"],
        "Interval": 30 * SECOND,
        "Timeout": 10 * SECOND,
        "StartPeriod": 120 * SECOND,
        "Retries": 3,
    },
}


class BaseResult(BaseModel):
    """A base image; `reused` when this state of the code had one."""

    model_config = ConfigDict(frozen=True)

    digest: str
    bytes: int
    layout: Path
    seconds: float
    reused: bool


def build_base(settings: Settings, rootfs: Path | None = None, *, again: bool = False) -> BaseResult:
    """Build the base of this state of the code, and let the next bakes stand on it.

    Args:
        rootfs: tar of a root file system that `docker/base/Containerfile` made; none: make it here.
        again: build it even when this state of the code has one.

    Raises:
        ConfigError: neither mmdebstrap nor a given tar is there, or the recipe failed.
    """
    clock = time.monotonic()
    folder = settings.home / "bases"
    folder.mkdir(parents=True, exist_ok=True)
    key = canonical_hash([code_state(), file_sha256(rootfs) if rootfs else None])
    known = folder / "keys" / key
    if known.is_file() and not again and (folder / known.read_text()).is_dir():
        digest = known.read_text()
        write_whole(folder / "current", digest)
        return _result(folder / digest, clock, reused=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as name:
        work = Path(name)
        tar = rootfs or _make_rootfs(work / "rootfs.tar")
        digest = _pack(tar, work)
        target = folder / digest.removeprefix("sha256:")
        if not target.is_dir():
            (work / "layout").rename(target)
    known.parent.mkdir(exist_ok=True)
    write_whole(known, target.name)
    write_whole(folder / "current", target.name)
    return _result(target, clock, reused=False)


def base_layout(settings: Settings, digest: str | None = None) -> Path | None:
    """Return the layout of the base to bake on: the one of a digest, else the configured, else the newest built.

    Raises:
        MissingStep: a base with this digest is not there.
    """
    folder = settings.home / "bases"
    if digest is not None:
        wanted = folder / digest.removeprefix("sha256:")
        if wanted.is_dir():
            return wanted
        raise MissingStep(f"base {digest} is not in {folder}. Take the code of that release, run `cradle base build`.")
    if settings.base_layout is not None:
        return settings.base_layout
    current = folder / "current"
    return folder / current.read_text() if current.is_file() else None


def code_state() -> str:
    """Return a hash over all that decides the base: the recipe, the lock and the packages of the product."""
    packages = [path for name in ("cradle", "streamlit_apps") for path in (PROJECT / name).rglob("*.py")]
    files = [RECIPE, PROJECT / "requirements" / "serve.txt", PROJECT / "pyproject.toml", *sorted(packages)]
    return canonical_hash([CONFIG, [[str(path.relative_to(PROJECT)), file_sha256(path)] for path in files]])


def _make_rootfs(tar: Path) -> Path:
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise ConfigError(
            "the base is built as root on Debian with mmdebstrap (apt-get install mmdebstrap). Elsewhere run "
            "`docker build -f docker/base/Containerfile -o base .`, then `cradle base build --rootfs base/rootfs.tar`."
        )
    tools = {"UV": str(Path(sys.executable).with_name("uv")), "PYTHON": sys.executable}
    environment = {**clean_environment("HOME", "SSL_CERT_FILE", "PIP_CERT", "UV_INDEX_URL"), **tools}
    done = subprocess.run([str(RECIPE), str(tar)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n  ".join(done.stderr.strip().splitlines()[-8:])
        raise ConfigError(f"{RECIPE.relative_to(PROJECT)} failed. It said:\n  {said}")
    return tar


def _pack(tar: Path, work: Path) -> str:
    layout = work / "layout"
    layout.mkdir()
    system, code = work / "system.tar", work / "code.tar"
    _split(tar, system, code)
    bill = work / "bill" / SBOM
    bill.parent.mkdir(parents=True)
    bill.write_bytes(bill_of_materials(tar))
    made = [
        write_tar_layer(layout, system, "system"),
        write_layer(layout, work / "bill" / "usr", "usr", "sbom"),
        write_tar_layer(layout, code, "code"),
    ]
    labels = {"org.opencontainers.image.title": "cradle-base", "org.opencontainers.image.version": __version__}
    digest, _ = append_layers(
        layout, None, made, created="1970-01-01T00:00:00Z", labels=labels, config=CONFIG, kind="cradle.base"
    )
    oci.name_image(layout, digest, "cradle-base:latest")
    return digest


def _split(tar: Path, system: Path, code: Path) -> None:
    """Part our own packages from all others: a new state of the code ships a megabyte."""
    with tarfile.open(tar) as whole, tarfile.open(system, "w") as rest, tarfile.open(code, "w") as own:
        for entry in whole:
            inside = entry.name.partition("/dist-packages/")[2].partition("/")[0]
            target = own if inside.startswith(OWN) else rest
            target.addfile(entry, whole.extractfile(entry) if entry.isfile() else None)


def _result(layout: Path, clock: float, *, reused: bool) -> BaseResult:
    size = sum(path.stat().st_size for path in (layout / "blobs" / "sha256").iterdir())
    seconds = round(time.monotonic() - clock, 1)
    return BaseResult(digest=oci.image_of(layout), bytes=size, layout=layout, seconds=seconds, reused=reused)
