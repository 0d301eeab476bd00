"""Makes images that are damaged or forged: every hash fits, as a bug or an attacker would leave it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from cradle.bake import oci
from cradle.bake.assemble import append_layers
from cradle.bake.export import write_key_index, write_parquet
from cradle.bake.exports import order_of
from cradle.bake.tarball import write_layer
from cradle.bake.unpack import images, unpack
from cradle.config import Settings
from cradle.digest import content_digest, content_digest_of, release_id_of
from cradle.manifest import FILE, Manifest, read_manifest

CREATED = "2024-04-01T00:00:00Z"


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

    def table(self, name: str) -> Any:
        return pq.read_table(self.root / self.manifest.tables[name].file)


def baked(settings: Settings, customer: str) -> Image:
    """Return the one image of a customer; not to be changed."""
    layout = settings.images(customer) / "layout"
    (digest,) = images(layout).values()
    root = unpack(settings, customer, digest)
    return Image(settings, layout, digest, root, read_manifest(root))


def copied(image: Image, folder: Path) -> Image:
    """Return a copy whose small files may be changed; blobs and encoder are links, to be parted first."""
    shutil.copytree(image.layout, folder / "layout", copy_function=os.link)
    shutil.copytree(image.root, folder / "root", ignore=shutil.ignore_patterns("encoder"))
    shutil.copytree(image.root / "encoder", folder / "root" / "encoder", copy_function=os.link)
    return Image(image.settings, folder / "layout", image.digest, folder / "root", image.manifest)


def own(path: Path) -> Path:
    """Part a file from those that it shares its bytes with."""
    alone = path.with_name(f"{path.name}.own")
    shutil.copyfile(path, alone)
    alone.replace(path)
    return path


def flip(path: Path, offset: int, bit: int) -> None:
    """Change one bit; the same call again changes it back."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ (1 << bit)]))


def rewrite(image: Image, table: str, change: Callable[[Any], Any]) -> None:
    """Write a table and its key index with other rows."""
    entry = image.manifest.tables[table]
    rows = change(image.table(table))
    write_parquet(image.root / entry.file, rows, order_of(rows, entry.key))
    if entry.key_index:
        write_key_index(image.root / entry.key_index, rows, entry.key)


def edit(expression: str) -> Callable[[Any], Any]:
    """Return a change of rows: `select <expression> from rows`."""

    def change(rows: Any) -> Any:
        con = duckdb.connect(":memory:")
        con.register("given", rows)
        return con.execute(f"select {expression} from given").to_arrow_table().cast(rows.schema)

    return change


def consistent(image: Image) -> dict[str, Any]:
    """Return what a manifest would tell of the tables as they are now, up to the release's id."""
    told = image.manifest.model_dump(include={"tables", "content_digest", "release_id"})
    con = duckdb.connect(":memory:")
    con.execute("set TimeZone = 'UTC'")
    for name, table in told["tables"].items():
        relation = f"read_parquet('{image.root / table['file']}')"
        table["content_digest"] = content_digest(con, relation)
        table["rows"] = image.table(name).num_rows
    return {**told, **identity(image, told["tables"])}


def identity(image: Image, tables: dict[str, Any], **changes: Any) -> dict[str, str]:
    """Return the content digest and the release id that follow from all else."""
    manifest = image.manifest
    assert manifest.vectors is not None
    assert manifest.encoder is not None
    collection = changes.get("collection", manifest.vectors.collection_digest)
    digests = {name: table["content_digest"] for name, table in tables.items()}
    content = content_digest_of(digests, collection, manifest.encoder.model_key)
    params = changes.get("params_hash", manifest.params_hash)
    return {"content_digest": content, "release_id": release_id_of(content, manifest.epoch, params)}


def sealed(image: Image, **changes: Any) -> str:
    """Write the manifest of the files as they are now, and the image of it; return its digest."""
    files = {
        path.relative_to(image.root).as_posix(): {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in image.root.rglob("*")
        if path.is_file() and path.name != FILE
    }
    told = {**image.manifest.model_dump(), "files": files, **changes}
    (image.root / FILE).write_bytes(Manifest.model_validate(told).canonical())
    return assembled(image)


def assembled(image: Image, *more: oci.Layer, kind: str = oci.DATA, labels: dict[str, str] | None = None) -> str:
    """Write an image of the folder as it is; return its digest."""
    layer = write_layer(image.layout, image.root, oci.PREFIX, "all")
    digest, _ = append_layers(image.layout, None, [layer], created=CREATED, labels=labels or {}, config={})
    if more:  # on top, and without saying what they are
        digest, _ = _on_top(image, digest, list(more), kind)
    return digest


def _on_top(image: Image, below: str, more: list[oci.Layer], kind: str) -> tuple[str, int]:
    base = image.layout.with_name("below")
    (base / "blobs").mkdir(parents=True, exist_ok=True)
    if not (base / "blobs" / "sha256").exists():
        (base / "blobs" / "sha256").symlink_to(image.layout / "blobs" / "sha256")
    oci.name_image(base, below, "below")
    return append_layers(image.layout, base, more, created=CREATED, labels={}, config={}, kind=kind)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
