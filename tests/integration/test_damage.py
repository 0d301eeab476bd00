"""No damage goes unnoticed: bits that flip anywhere, behind right hashes too, and faults planted by a forger.

What one image can tell is found without the lake; what only its origin knows, where the lake is. DESIGN, section 8.
"""

from __future__ import annotations

import json
import random
import re
import tarfile
from pathlib import Path

import pytest

from cradle import oci
from cradle.bake.unpack import images
from cradle.config import Settings
from cradle.errors import VerifyFailed
from tests.forged import FAULTS
from tests.forging import Image, assembled, baked, consistent, copied, failures, flip, own, sealed

pytestmark = pytest.mark.integration
FLIPS = 260
FLIPS_BEHIND_HASHES = 6  # of each file


@pytest.fixture(scope="module")
def image(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The demo's image; not to be changed."""
    return baked(demo, "demo", tmp_path_factory.mktemp("image"))


@pytest.fixture
def copy(image: Image, tmp_path: Path) -> Image:
    """A copy of the image that may be changed."""
    return copied(image, tmp_path)


def places(image: Image) -> list[tuple[str, Path, int, int]]:
    """Return (what a report must name, file, first byte, bytes) of everything in a layout."""
    found = []
    for name, blob in image.blobs().items():
        own(blob)
        found.append((name, blob, 0, blob.stat().st_size))
        if name != "encoder":  # that one is packed as a whole
            with tarfile.open(blob) as tar:
                entries = [entry for entry in tar if entry.isfile()]
            prefix = f"{oci.PREFIX}/"
            found += [(one.name.removeprefix(prefix), blob, one.offset_data, one.size) for one in entries]
    config = oci.get_json(image.layout, image.digest)["config"]["digest"]
    for digest in (config, image.digest):
        blob = own(oci.blob_path(image.layout, digest))
        found.append((digest, blob, 0, blob.stat().st_size))
    for name in ("index.json", "oci-layout"):
        found.append((name, own(image.layout / name), 0, (image.layout / name).stat().st_size))
    return found


def test_every_flipped_bit_is_found_and_its_place_named(copy: Image) -> None:
    """Flips in every file of every layer, in what lies between files, and in the JSON of image and layout."""
    draw = random.Random(3)
    known = places(copy)
    named = {name for name, *_ in known}
    assert {"manifest.json", "encoder", "index.json", *copy.manifest.files} - named == {
        name for name in copy.manifest.files if name.startswith("encoder/")
    }
    for at in range(FLIPS):
        name, path, begin, size = known[at % len(known)]
        offset, bit = begin + draw.randrange(size), draw.randrange(8)
        flip(path, offset, bit)
        failed = failures(copy, lake=False)
        assert failed, f"bit {bit} of byte {offset} in {name} was not found"
        ((check, told),) = failed.items()
        assert check == ("index" if path.parent == copy.layout else "blobs")
        assert name in told
        flip(path, offset, bit)
    assert not failures(copy, lake=False)


def test_a_missing_layer_is_named(copy: Image) -> None:
    blob = copy.blobs()["chunks"]
    blob.unlink()
    assert failures(copy) == {"blobs": f"layer chunks: blob sha256:{blob.name} is missing"}


def test_a_damaged_index_says_what_to_do(copy: Image) -> None:
    own(copy.layout / "index.json").write_bytes(b'{"manifests": [{}')
    with pytest.raises(VerifyFailed, match="cradle bake"):
        images(copy.layout)


def test_sealing_alone_changes_nothing_that_is_checked(copy: Image) -> None:
    assert failures(copy, sealed(copy)) == {}
    assert failures(copy, sealed(copy, consistent(copy))) == {}


@pytest.mark.parametrize(
    "file",
    [
        "tables/marts.orders.parquet",
        "tables/marts.general_chunks.parquet",
        "keys/marts.orders.sqlite",
        "vectors/chunks.parquet",
        "vectors/part",
        "words/part",
        "encoder/model.onnx",
        "encoder/tokenizer.json",
        "manifest.json",
    ],
)
def test_every_bit_that_flips_behind_the_hashes_is_found(image: Image, copy: Image, file: str) -> None:
    """The flip is older than the hashes, which therefore fit: only what the files say can give it away."""
    assert copy.manifest.vectors is not None
    parts = {"vectors/part": copy.manifest.vectors.parts[0], "words/part": copy.manifest.vectors.words[0]}
    path = copy.root / parts.get(file, file)
    if file.startswith("encoder/"):
        path.parent.mkdir()
        path.write_bytes((image.root / file).read_bytes())
    draw = random.Random(file)
    for _ in range(FLIPS_BEHIND_HASHES):
        offset, bit = draw.randrange(path.stat().st_size), draw.randrange(8)
        flip(path, offset, bit)
        failed = failures(copy, assembled(copy) if file == "manifest.json" else sealed(copy))
        assert failed, f"bit {bit} of byte {offset} was not found"
        assert not any(name.startswith(("files", "blobs")) for name in failed if file != "manifest.json")
        words = {"manifest.json": "", "vectors/part": "vector"}
        assert words.get(file, path.name) in json.dumps(failed)
        flip(path, offset, bit)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_named(image: Image, copy: Image, name: str) -> None:
    fault, check, message, alone = FAULTS[name]
    given = (image.root,) if fault.__code__.co_argcount == 2 else ()
    digest = fault(copy, *given)
    failed = failures(copy, digest)
    assert check in failed, f"found by {failed}"
    assert re.search(message, failed[check])
    assert bool(failed.keys() - {"release"}) == alone
