"""The image of a release beside what people would use: buildah's build and push; the limit is hashing and copying.

Ours exports tables, key index and vectors from the lake as well; buildah is given the exported files. Both pack the
encoder with gzip; buildah packs all layers, as it does for any registry.

Without buildah on the machine (`apt-get install buildah`) only the limit stands beside ours.

Run:  python -m benchmarks bake
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from datetime import timedelta
from pathlib import Path

from benchmarks.night import CUSTOMER, DAY, FILES, NIGHT, SHARE, over, run
from benchmarks.stage import Facts, Goal, Stage, Unequal, Variant, bytes_below, imported
from cradle.config import PROJECT, Settings
from cradle.examples.lightnet import FULL

GROUPS = ("tables", "keys", "vectors", "encoder", "notes", "manifest.json")  # of the files below /cradle
LATER = DAY + timedelta(days=1)


def prepare(inputs: Path, amount: int) -> None:
    """Make a home with two releases, the later one of a delivery in which 1 % changed, and the files of each image."""
    from cradle.bake.image import layout_of
    from cradle.bake.unpack import unpack_into
    from cradle.examples import generate

    rows = None if amount == FULL else amount
    generate(CUSTOMER, inputs / "first", rows=rows)
    generate(CUSTOMER, inputs / "next", rows=rows, changed=max(SHARE, 4 / amount), changed_files=FILES["spread"])
    run(over(inputs / "home", inputs / "first"), DAY, NIGHT[:-1])
    settings = over(inputs / "home", inputs / "next")
    run(settings, LATER, NIGHT[:-1])
    for name, digest in _digests(inputs).items():
        unpack_into(layout_of(settings, CUSTOMER), digest, inputs / name / "cradle")
        lines = ["FROM scratch", *(f"COPY cradle/{one} /cradle/{one}" for one in GROUPS)]
        (inputs / name / "Containerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _digests(inputs: Path) -> dict[str, str]:
    from cradle import releases
    from cradle.catalog import open_lake

    lake = open_lake(_settings(inputs), CUSTOMER)
    found = {}
    for name, day in (("files", DAY), ("files-next", LATER)):
        release = releases.find(lake, logical_date=day)
        events = releases.image_events(lake, release.release_id)
        found[name] = next(str(one["digest"]) for one in reversed(events) if one["event"] == "baked")
    return found


def _settings(inputs: Path) -> Settings:
    return Settings(home=inputs / "home", customers=PROJECT / "data" / "customers", log_level="ERROR")


def load() -> None:
    """Import what baking needs."""
    imported("cradle.bake", "cradle.catalog")


def ours(inputs: Path, scratch: Path, day: str = "first") -> Facts:
    """Bake a release into the layout of this run."""
    from cradle.bake import bake

    made = bake(_settings(inputs), CUSTOMER, DAY if day == "first" else LATER, out=scratch / "layout")
    return {"digest": made.digest, "figures": {"MB": made.bytes / 1e6, "MB to ship": made.bytes_to_ship / 1e6}}


def ours_before(inputs: Path, scratch: Path) -> None:
    """Bake the earlier release."""
    ours(inputs, scratch)


def _buildah(scratch: Path, *arguments: str) -> None:
    command = ["buildah", "--storage-driver", "vfs", "--root", f"{scratch}/storage", "--runroot", f"{scratch}/run"]
    subprocess.run([*command, *arguments], check=True, capture_output=True)


def buildah(inputs: Path, scratch: Path, files: str = "files") -> Facts:
    """Build an image of ready files, a layer per kind, and push it into an OCI layout."""
    folder, target = inputs / files, f"oci:{scratch / 'layout'}:image"
    build = ("--isolation", "chroot", "--layers", "--quiet", "--tag", "image", "--file", f"{folder}/Containerfile")
    before = bytes_below(scratch / "layout")
    _buildah(scratch, "build", *build, str(folder))
    _buildah(scratch, "push", "--quiet", "image", target)
    stored = bytes_below(scratch / "layout")
    return {"figures": {"MB": stored / 1e6, "MB to ship": (stored - before) / 1e6}}


def buildah_before(inputs: Path, scratch: Path) -> None:
    """Build and push the earlier image."""
    buildah(inputs, scratch)


def limit(inputs: Path, scratch: Path) -> Facts:
    """Hash and copy the bytes of the files, and let them last."""
    total = 0
    for path in sorted((inputs / "files").rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb") as source, (scratch / f"{total}").open("wb") as target:
            whole = hashlib.sha256()
            while block := source.read(1 << 20):
                whole.update(block)
                target.write(block)
                total += len(block)
            target.flush()
            os.fsync(target.fileno())
    return {"figures": {"MB": total / 1e6}}


def later(inputs: Path, scratch: Path) -> Facts:
    """Bake the release of the later delivery."""
    return ours(inputs, scratch, "later")


def buildah_later(inputs: Path, scratch: Path) -> Facts:
    """Build and push the files of the later delivery."""
    return buildah(inputs, scratch, "files-next")


def same_again(inputs: Path, scratch: Path) -> Facts:
    """Bake the release that is baked already."""
    found = ours(inputs, scratch)
    if found["figures"]["MB to ship"]:
        raise Unequal("a release that was baked has bytes to ship when it is baked again")
    return found


STAGES = (
    Stage(
        name="bake",
        title="The image of a release",
        unit="products",
        sizes={"smoke": 40, "reduced": 300, "full": FULL},
        prepare=prepare,
        variants=(
            Variant("cradle", "exported and baked", ours, load=load),
            Variant("unchanged", "the same release again", same_again, setup=ours_before, load=load),
            Variant("small", "1 % changed", later, setup=ours_before, load=load),
            Variant("buildah", "ready files, buildah build and push", buildah, needs="buildah"),
            Variant(
                "buildah-small", "1 % changed, buildah with its cache", buildah_later, buildah_before, needs="buildah"
            ),
            Variant("limit", "sha256 and copy of the files", limit),
        ),
        goals=(Goal("buildah", at_least=1.0), Goal(figure="peak_mb", at_most=4096)),
    ),
)
