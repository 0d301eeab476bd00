"""An image keeps its promises: damage and forgery are found and named, and it runs on the extra `serve` alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from cradle.bake import oci
from cradle.bake.assemble import append_layers
from cradle.bake.export import write_key_index, write_parquet
from cradle.bake.oci import PREFIX
from cradle.bake.tarball import write_layer
from cradle.bake.unpack import images, unpack
from cradle.bake.verify import verify_image
from cradle.config import Settings
from cradle.errors import VerifyFailed
from cradle.manifest import FILE, Manifest, read_manifest
from cradle.vectors.flat import FlatIndex, write_flat

pytestmark = pytest.mark.integration
FLIPS = 120


@dataclass(frozen=True)
class Image:
    """An image in a layout, and its files."""

    settings: Settings
    layout: Path
    digest: str
    root: Path
    manifest: Manifest

    def layers(self) -> list[dict[str, Any]]:
        return list(oci.get_json(self.layout, self.digest)["layers"])


@pytest.fixture(scope="module")
def image(demo: Settings) -> Image:
    """The demo's image; not to be changed."""
    layout = demo.images("demo") / "layout"
    (digest,) = images(layout).values()
    root = unpack(demo, "demo", digest)
    return Image(demo, layout, digest, root, read_manifest(root))


@pytest.fixture
def copy(image: Image, tmp_path: Path) -> Image:
    """A copy of the image whose layout and files may be changed; the encoder is in the layout only."""
    shutil.copytree(image.layout, tmp_path / "layout")
    shutil.copytree(image.root, tmp_path / "root", ignore=shutil.ignore_patterns("encoder"))
    return Image(image.settings, tmp_path / "layout", image.digest, tmp_path / "root", image.manifest)


def part(image: Image) -> Path:
    """The one part of the flat index."""
    assert image.manifest.vectors is not None
    (name,) = image.manifest.vectors.parts
    return image.root / name


def failures(image: Image, digest: str | None = None) -> dict[str, str]:
    """Verify an image and return check → detail of what failed."""
    result = verify_image(image.settings, image.layout, digest or image.digest)
    failed = {check.name: check.detail for check in result.checks if not check.ok}
    assert result.verified == (not failed)
    return failed


def flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ (1 << bit)]))


def test_every_flipped_bit_is_found_and_its_file_named(copy: Image) -> None:
    """Flips in every file of every layer, in what lies between files, and in the image's own JSON."""
    draw = random.Random(3)
    places: list[tuple[str, Path, int, int]] = []  # what a report must name, blob, first byte, bytes
    for layer in copy.layers():
        blob, name = oci.blob_path(copy.layout, layer["digest"]), layer["annotations"]["cradle.layer"]
        places.append((name, blob, 0, layer["size"]))
        if layer["mediaType"].endswith("gzip"):
            continue
        with tarfile.open(blob) as tar:
            places += [
                (entry.name.removeprefix(f"{PREFIX}/"), blob, entry.offset_data, entry.size)
                for entry in tar
                if entry.isfile()
            ]
    named = {name for name, *_ in places}
    assert {
        "manifest.json",
        part(copy).relative_to(copy.root).as_posix(),
        "keys/marts.orders.sqlite",
        "encoder",
    } <= named
    assert {entry.file for entry in copy.manifest.tables.values()} <= named
    config = oci.get_json(copy.layout, copy.digest)["config"]
    places += [(config["digest"], oci.blob_path(copy.layout, config["digest"]), 0, config["size"])]
    own = oci.blob_path(copy.layout, copy.digest)
    places += [(copy.digest, own, 0, own.stat().st_size)]
    for at in range(FLIPS):
        name, blob, begin, size = places[at % len(places)]
        offset, bit = begin + draw.randrange(size), draw.randrange(8)
        flip(blob, offset, bit)
        failed = failures(copy)
        assert list(failed) == ["blobs"], f"bit {bit} of byte {offset} in {name} was not found"
        assert name in failed["blobs"]
        flip(blob, offset, bit)


def test_a_missing_layer_is_named(copy: Image) -> None:
    layer = next(layer for layer in copy.layers() if layer["annotations"]["cradle.layer"].startswith("vectors-"))
    oci.blob_path(copy.layout, layer["digest"]).unlink()
    assert failures(copy) == {
        "blobs": f"layer {layer['annotations']['cradle.layer']}: blob {layer['digest']} is missing"
    }


def test_a_damaged_index_says_what_to_do(copy: Image) -> None:
    (copy.layout / "index.json").write_bytes(b'{"manifests": [{}')
    with pytest.raises(VerifyFailed, match="cradle bake"):
        images(copy.layout)


def sealed(image: Image, **changes: Any) -> str:
    """Make an image of a folder as a forger would: every hash is right; return its digest."""
    files = {name: entry.model_dump() for name, entry in image.manifest.files.items() if name.startswith("encoder/")}
    files |= {
        path.relative_to(image.root).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in image.root.rglob("*")
        if path.is_file() and path.name != FILE
    }
    told = {**image.manifest.model_dump(), "files": files, **changes}
    (image.root / FILE).write_bytes(Manifest.model_validate(told).canonical())
    return assembled(image)


def assembled(image: Image) -> str:
    """Write the image's encoder layer and one of all files of the folder as an image; return its digest."""
    config = oci.get_json(image.layout, oci.get_json(image.layout, image.digest)["config"]["digest"])
    entry, diff_id = next(
        (entry, diff_id)
        for entry, diff_id in zip(image.layers(), config["rootfs"]["diff_ids"], strict=True)
        if entry["annotations"]["cradle.layer"] == "encoder"
    )
    encoder = oci.Layer(entry["digest"], entry["size"], diff_id, entry["mediaType"], "encoder")
    rest = write_layer(image.layout, image.root, PREFIX, "rest")
    created = "2024-04-01T00:00:00Z"
    digest, _ = append_layers(image.layout, None, [encoder, rest], created=created, labels={}, config={})
    return digest


def rewritten(image: Image, table: str, keep: Callable[[Any], Any]) -> dict[str, Any]:
    """Write a table and its key index with other rows; return the tables as a manifest would tell them."""
    entry = image.manifest.tables[table]
    rows = keep(pq.read_table(image.root / entry.file))
    write_parquet(image.root / entry.file, rows, entry.key)
    if entry.key_index:
        write_key_index(image.root / entry.key_index, rows, entry.key)
    told = {name: one.model_dump() for name, one in image.manifest.tables.items()}
    told[table]["rows"] = rows.num_rows
    return told


def test_sealing_alone_changes_nothing_that_is_checked(copy: Image) -> None:
    assert failures(copy, sealed(copy)) == {}


def test_a_dropped_row_is_found_by_its_count(copy: Image) -> None:
    rewritten(copy, "marts.orders", lambda rows: rows.slice(1))
    assert "holds 999 rows where 1000 are promised" in failures(copy, sealed(copy))["table marts.orders"]


def test_a_dropped_row_is_found_though_its_count_is_forged(copy: Image) -> None:
    tables = rewritten(copy, "marts.orders", lambda rows: rows.slice(1))
    failed = failures(copy, sealed(copy, tables=tables))
    assert list(failed) == ["table marts.orders"]
    assert "holds other rows than the pinned snapshot" in failed["table marts.orders"]


def test_a_changed_value_is_found(copy: Image) -> None:
    def cheaper(rows: Any) -> Any:
        con = duckdb.connect(":memory:")
        con.register("given", rows)
        changed = "* replace (case when order_id = 'ORD-0001' then amount - 0.0001 else amount end as amount)"
        return con.execute(f"select {changed} from given").to_arrow_table().cast(rows.schema)

    tables = rewritten(copy, "marts.orders", cheaper)
    assert list(failures(copy, sealed(copy, tables=tables))) == ["table marts.orders"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("delete from rows where key = 'ORD-0500'", "holds 999 rows"),
        ("update rows set place = place + 1 where key = 'ORD-0001'", "'ORD-0001'"),
        ("update rows set key = 'ORD-9999' where key = 'ORD-0002'", "'ORD-0002'"),
    ],
)
def test_a_key_index_that_differs_from_its_table_is_named(copy: Image, change: str, message: str) -> None:
    path = copy.root / "keys" / "marts.orders.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as con, con:
        assert con.execute(change).rowcount == 1
    failed = failures(copy, sealed(copy))
    assert "marts.orders.sqlite" in failed["table marts.orders"]
    assert message in failed["table marts.orders"]


def test_a_missing_vector_is_named(copy: Image) -> None:
    path = part(copy)
    write_flat(path, FlatIndex(path).vectors()[:-1])
    assert "the vectors are 18 x 384" in failures(copy, sealed(copy))["vectors"]


def test_a_chunk_that_no_table_holds_is_named(copy: Image) -> None:
    path = copy.root / "vectors" / "chunks.parquet"
    rows = pq.read_table(path)
    other = duckdb.connect(":memory:").execute("select * replace ('0' || chunk_id[2:] as chunk_id) from rows")
    write_parquet(path, other.to_arrow_table().cast(rows.schema), ("chunk_id",))
    assert "names other chunks" in failures(copy, sealed(copy))["vectors"]


def test_vectors_that_stand_for_other_chunks_are_found(copy: Image) -> None:
    path = part(copy)
    write_flat(path, FlatIndex(path).vectors()[::-1])
    failed = failures(copy, sealed(copy))
    assert list(failed) == ["encoder"]  # the chunks' texts, encoded anew, don't give their vectors


def test_an_exchanged_tokenizer_is_found(image: Image, copy: Image) -> None:
    content = json.loads((image.root / "encoder" / "tokenizer.json").read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    plain = [word for word in words if word.isalpha()]
    for word, other in zip(plain, reversed([words[word] for word in plain]), strict=True):
        words[word] = other
    (copy.root / "encoder").mkdir()
    (copy.root / "encoder" / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    failed = failures(copy, sealed(copy))
    assert list(failed) == ["encoder"]  # the chunks' texts, encoded anew, don't give their vectors


def test_an_encoder_that_does_not_open_is_named(copy: Image) -> None:
    (copy.root / "encoder").mkdir()
    (copy.root / "encoder" / "model.onnx").write_bytes(b"no model")
    failed = failures(copy, sealed(copy))
    assert "model.onnx" in failed["encoder"]


def test_a_file_too_many_and_one_too_few_are_named(copy: Image) -> None:
    (copy.root / "tables" / "more.parquet").write_bytes(b"")
    (copy.root / "tables" / "marts.orders.parquet").unlink()
    found = failures(copy, assembled(copy))["files"]
    assert found == "missing: tables/marts.orders.parquet; not in the manifest: tables/more.parquet"
