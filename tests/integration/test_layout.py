"""The layout that an image lies in: what its layers hold, a base below them, and what unpacking refuses."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cradle import oci
from cradle.bake import bake
from cradle.bake.assemble import append_layers, base_image
from cradle.bake.encoder import export_encoder
from cradle.bake.export import key_text, keyed_rows, write_key_index, write_parquet
from cradle.bake.tarball import LAYER_TYPES, write_layer
from cradle.bake.unpack import images, unpack_into
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.errors import ConfigError, MissingStep, VerifyFailed
from cradle.lookup import row_of
from cradle.points import LISTENERS
from tests.nights import DAY

pytestmark = pytest.mark.integration


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_the_layout_is_what_the_oci_specification_asks_for(demo: Settings) -> None:
    layout = demo.images("demo") / "layout"
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout / "index.json").read_bytes())
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    for entry in index["manifests"]:
        data = oci.blob_path(layout, entry["digest"]).read_bytes()
        assert (digest_of(data), len(data)) == (entry["digest"], entry["size"])
        manifest = json.loads(data)
        config = json.loads(oci.blob_path(layout, manifest["config"]["digest"]).read_bytes())
        plain = []
        for layer in manifest["layers"]:
            blob = oci.blob_path(layout, layer["digest"]).read_bytes()
            assert (digest_of(blob), len(blob)) == (layer["digest"], layer["size"])
            plain.append(digest_of(gzip.decompress(blob) if layer["mediaType"].endswith("+gzip") else blob))
        assert config["rootfs"] == {"type": "layers", "diff_ids": plain}
        assert len(config["history"]) == len(plain)
        assert config["config"]["User"] == "65532:65532"


def test_no_layer_holds_a_time_an_owner_or_a_path_of_this_machine(demo: Settings) -> None:
    layout = demo.images("demo") / "layout"
    for digest in images(layout).values():
        for layer in oci.get_json(layout, digest)["layers"]:
            blob = oci.blob_path(layout, layer["digest"])
            with tarfile.open(blob) as tar:
                entries = tar.getmembers()
            names = [entry.name for entry in entries]
            assert names == sorted(names)
            assert all(name == "cradle" or name.startswith("cradle/") for name in names)
            assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {
                (0, 0, 0, "", "")
            }
            assert {entry.mode for entry in entries} <= {0o755, 0o644}
            data = gzip.decompress(blob.read_bytes()) if layer["mediaType"].endswith("+gzip") else blob.read_bytes()
            for path in (str(demo.home), str(Path.home())):
                assert path.encode() not in data, f"{layer['annotations']} names {path}"


def base_layout(folder: Path) -> Path:
    """Write a base image of one compressed layer."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    (tree / "os-release").write_text("ID=base\n")
    layout = folder / "base"
    layer = write_layer(layout, tree, "etc", "base", compress=True)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Labels": {"base": "yes"}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created_by": "base"}],
    }
    digest, size = oci.put_json(layout, config)
    entry = {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": size}
    image, _ = oci.put_json(
        layout, {"schemaVersion": 2, "mediaType": oci.MANIFEST_TYPE, "config": described, "layers": [entry]}
    )
    oci.name_image(layout, image, "base:1")
    return layout


def test_data_layers_stand_on_a_base_whose_blobs_are_not_copied(demo: Settings, tmp_path: Path) -> None:
    base = base_layout(tmp_path)
    above = demo.model_copy(update={"base_layout": base})
    layout = tmp_path / "layout"
    made = bake(above, "demo", DAY, out=layout)
    manifest = oci.get_json(layout, made.digest)
    (own,) = images(base).values()
    (ground,) = oci.get_json(base, own)["layers"]
    assert manifest["layers"][0] == ground
    assert oci.blob_path(layout, ground["digest"]).samefile(oci.blob_path(base, ground["digest"]))
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == own
    config = oci.get_json(layout, manifest["config"]["digest"])
    assert config["config"]["Env"] == ["PATH=/bin"]
    assert config["config"]["Labels"]["base"] == "yes"
    assert config["config"]["Labels"]["cradle.release"] == made.release_id
    without = oci.get_json(demo.images("demo") / "layout", *images(demo.images("demo") / "layout").values())
    # All but the manifest, which names the base.
    own_layers, others = (
        [layer["digest"] for layer in one] for one in (manifest["layers"][1:-1], without["layers"][:-1])
    )
    assert own_layers == others
    assert bake(above, "demo", DAY, out=layout).digest == made.digest
    unpack_into(layout, made.digest, tmp_path / "root")
    assert not (tmp_path / "root" / "etc").exists()


def test_a_base_on_another_file_system_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_layout(tmp_path)

    def refuse(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    _, manifest, _ = base_image(base, tmp_path / "layout")
    (layer,) = manifest["layers"]
    assert digest_of(oci.blob_path(tmp_path / "layout", layer["digest"]).read_bytes()) == layer["digest"]


def test_a_base_of_two_images_is_refused(tmp_path: Path) -> None:
    base = base_layout(tmp_path)
    (own,) = images(base).values()
    oci.name_image(base, own, "base:2")
    with pytest.raises(ConfigError, match="holds 2 images"):
        base_image(base, tmp_path / "layout")


def forged(layout: Path, *entries: tarfile.TarInfo) -> str:
    """Write an image whose layer holds these entries, each with one byte."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for entry in entries:
            entry.size = 1 if entry.isfile() else 0
            tar.addfile(entry, io.BytesIO(b"x") if entry.isfile() else None)
    blob = data.getvalue()
    path = oci.blob_path(layout, digest_of(blob))
    path.parent.mkdir(parents=True)
    path.write_bytes(blob)
    layer = oci.Layer(digest_of(blob), len(blob), digest_of(blob), LAYER_TYPES[False], "forged")
    return append_layers(layout, None, [layer], created="2024-04-01T00:00:00Z", labels={}, config={})[0]


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("cradle/../../outside"),
        tarfile.TarInfo("/outside"),
        tarfile.TarInfo("etc/passwd"),
        link("cradle/link", "/etc", tarfile.SYMTYPE),
        link("cradle/link", "cradle/other", tarfile.LNKTYPE),
        link("cradle/pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda entry: f"{entry.name} {entry.type.decode()}",
)
def test_a_layer_can_write_plain_files_below_its_folder_only(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    digest = forged(tmp_path / "layout", entry)
    (tmp_path / "root").mkdir()
    with pytest.raises(VerifyFailed, match="no plain file below"):
        unpack_into(tmp_path / "layout", digest, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_a_missing_blob_is_a_missing_step(tmp_path: Path) -> None:
    digest = forged(tmp_path / "layout", tarfile.TarInfo("cradle/file"))
    (layer,) = oci.get_json(tmp_path / "layout", digest)["layers"]
    oci.blob_path(tmp_path / "layout", layer["digest"]).unlink()
    with pytest.raises(MissingStep, match="Bake the release again"):
        unpack_into(tmp_path / "layout", digest, tmp_path / "root")


def test_an_encoder_of_another_model_than_the_vectors_is_refused(demo: Settings) -> None:
    embedding = load_customer(demo.customers, "demo").installation.embedding
    with pytest.raises(MissingStep, match="run a new night"):
        export_encoder(demo, embedding, "0" * 64)


class Killed(BaseException):
    """Ends a test's call at a named point."""


def test_a_bake_cut_short_at_any_point_ends_as_an_uncut_one(demo: Settings, tmp_path: Path) -> None:
    """Every blob and the index: before and after its rename."""
    whole = bake(demo, "demo", DAY, out=tmp_path / "whole")
    layout, survived = tmp_path / "cut", 0

    def cut(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen > survived:
            raise Killed(name)

    LISTENERS.append(cut)
    try:
        while True:
            seen = 0
            try:
                made = bake(demo, "demo", DAY, out=layout)
                break
            except Killed:
                survived = seen  # at the next try one point more is passed
                for digest in images(layout).values():
                    assert digest == whole.digest
    finally:
        LISTENERS.remove(cut)
    assert made.digest == whole.digest
    assert survived >= 2
    blobs = [
        sorted(path.name for path in (folder / "blobs" / "sha256").iterdir()) for folder in (layout, tmp_path / "whole")
    ]
    assert blobs[0] == blobs[1]
    assert [path.name for path in layout.iterdir() if path.name.startswith((".blob", ".layer"))] == []


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
rows_of_tables = st.lists(
    st.fixed_dictionaries(
        {
            "text": texts | st.none(),
            "count": st.integers(-(2**63), 2**63 - 1) | st.none(),
            "price": st.decimals(-(10**13), 10**13, places=4, allow_nan=False) | st.none(),
            "there": st.booleans() | st.none(),
            "day": st.dates() | st.none(),
        }
    ),
    max_size=30,
)
SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "text": pa.string(),
        "count": pa.int64(),
        "price": pa.decimal128(18, 4),
        "there": pa.bool_(),
        "day": pa.date32(),
    }.items()
)


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**row, "key": f"K{at}"} for at, row in enumerate(rows)], SCHEMA)


@settings(max_examples=60, deadline=None)
@given(rows_of_tables, st.randoms(use_true_random=False))
def test_exports_depend_on_the_rows_alone_and_keep_every_value(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], draw: Any
) -> None:
    folder = tmp_path_factory.mktemp("export")
    table = as_table(rows)
    order = list(range(table.num_rows))
    draw.shuffle(order)
    for name, given_rows in (("one", table), ("two", table.take(pa.array(order, pa.int64())))):
        write_parquet(folder / f"{name}.parquet", given_rows, ("key",))
        write_key_index(folder / f"{name}.sqlite", given_rows, ("key",))
    for kind in ("parquet", "sqlite"):
        assert (folder / f"one.{kind}").read_bytes() == (folder / f"two.{kind}").read_bytes()
    assert pq.read_table(folder / "one.parquet").sort_by("key").equals(table.sort_by("key"))
    keys = [row["key"] for row in table.to_pylist()]
    found = {key: json.loads(row_of(folder / "one.sqlite", key) or "", parse_float=Decimal) for key in keys}
    assert row_of(folder / "one.sqlite", "no such key") is None
    with closing(sqlite3.connect(folder / "one.sqlite")) as con:
        assert con.execute("select count(*) from rows").fetchone() == (table.num_rows,)
    expected = {row["key"]: {**row, "day": row["day"] and row["day"].isoformat()} for row in table.to_pylist()}
    assert found == expected


def test_a_key_of_several_columns_is_a_json_list() -> None:
    rows = pa.table({"a": ["x", "y"], "b": [1, None]})
    assert (
        [key for key, _ in keyed_rows(rows, ("a", "b"))]
        == ['["x", 1]', '["y", null]']
        == [
            key_text(["x", 1]),
            key_text(["y", None]),
        ]
    )


def test_parquet_names_its_writer_and_nothing_of_its_time(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", as_table([]), ("key",))
    told = pq.read_metadata(tmp_path / "a.parquet")
    assert told.created_by == f"parquet-cpp-arrow version {pa.__version__}"
    assert told.metadata is None
    many = pa.table({"key": [f"{at:06d}" for at in range(9000)]})
    write_parquet(tmp_path / "b.parquet", many, ("key",))
    told = pq.read_metadata(tmp_path / "b.parquet")
    assert [told.row_group(at).num_rows for at in range(told.num_row_groups)] == [4096, 4096, 808]
