"""Makes images that are damaged or forged, as a bug or an attacker would leave them: every hash fits."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from cradle import oci, releases
from cradle.bake.assemble import append_layers
from cradle.bake.export import write_key_index, write_parquet
from cradle.bake.exports import order_of
from cradle.bake.origin import check_origin
from cradle.bake.tarball import write_layer
from cradle.bake.unpack import images, unpack
from cradle.bake.verify import verify_image
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.digest import content_digest, content_digest_of, file_sha256, release_id_of
from cradle.manifest import FILE, Manifest, read_manifest

CREATED = "2024-04-01T00:00:00Z"


@dataclass(frozen=True)
class Image:
    """An image in a layout, its files, and a layer of its encoder that is not packed."""

    settings: Settings
    layout: Path
    digest: str
    root: Path
    manifest: Manifest
    encoder: oci.Layer

    def layers(self) -> list[dict[str, Any]]:
        return list(oci.get_json(self.layout, self.digest)["layers"])

    def blobs(self) -> dict[str, Path]:
        """Return name → blob of every layer."""
        return {
            layer["annotations"]["cradle.layer"]: oci.blob_path(self.layout, layer["digest"]) for layer in self.layers()
        }

    def rows(self, table: str) -> Any:
        return pq.read_table(self.root / self.manifest.tables[table].file)


def baked(settings: Settings, customer: str, folder: Path) -> Image:
    """Return the one image of a customer, in a layout of links that nothing may be written to."""
    layout = settings.images(customer) / "layout"
    (digest,) = images(layout).values()
    root = unpack(settings, customer, digest)
    shutil.copytree(layout, folder / "layout", copy_function=os.link)
    shutil.copytree(root / "encoder", folder / "part" / "encoder", copy_function=os.link)
    encoder = write_layer(folder / "layout", folder / "part", oci.PREFIX, "encoder")
    return Image(settings, folder / "layout", digest, root, read_manifest(root), encoder)


def copied(image: Image, folder: Path) -> Image:
    """Return a copy whose files may be changed, the encoder's are in its layer only; blobs are links."""
    shutil.copytree(image.layout, folder / "layout", copy_function=os.link)
    shutil.copytree(image.root, folder / "root", ignore=shutil.ignore_patterns("encoder"))
    return replace(image, layout=folder / "layout", root=folder / "root")


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


def failures(image: Image, digest: str | None = None, *, lake: bool = True) -> dict[str, str]:
    """Verify an image, beside its lake or without it; return check → detail of what failed."""
    origin = None
    if lake:
        opened = open_lake(image.settings, image.manifest.customer)
        origin = partial(check_origin, opened, releases.find(opened))
    result = verify_image(image.settings, image.layout, digest or image.digest, origin)
    failed = {check.name: check.detail for check in result.checks if not check.ok}
    assert result.verified == (not failed)
    assert all(failed.values()), "a failed check says nothing"
    return failed


def rewrite(image: Image, table: str, change: Callable[[Any], Any]) -> None:
    """Write a table and its key index with other rows."""
    entry = image.manifest.tables[table]
    rows = change(image.rows(table))
    write_parquet(image.root / entry.file, rows, order_of(rows, entry.key))
    if entry.key_index:
        write_key_index(image.root / entry.key_index, rows, entry.key)


def edit(expression: str) -> Callable[[Any], Any]:
    """Return a change of rows: `select <expression> from <rows>`."""

    def change(rows: Any) -> Any:
        con = duckdb.connect(":memory:")
        con.register("given", rows)
        return con.execute(f"select {expression} from given").to_arrow_table().cast(rows.schema)

    return change


def consistent(image: Image, **changes: Any) -> dict[str, Any]:
    """Return all that a manifest tells, recomputed from the files as they are now up to the release's id."""
    told = {**image.manifest.model_dump(), **changes}
    con = duckdb.connect(":memory:")
    con.execute("set TimeZone = 'UTC'")
    for name, table in told["tables"].items():
        table["content_digest"] = content_digest(con, f"read_parquet('{image.root / table['file']}')")
        table["rows"] = image.rows(name).num_rows
    digests = {name: table["content_digest"] for name, table in told["tables"].items()}
    content = content_digest_of(digests, told["vectors"]["collection_digest"], told["encoder"]["model_key"])
    return {**told, "content_digest": content, "release_id": release_id_of(content, told["epoch"], told["params_hash"])}


def sealed(image: Image, told: dict[str, Any] | None = None, **changes: Any) -> str:
    """Write the manifest of the files as they are now, and the image of it; return its digest.

    Args:
        told: what the manifest tells; without it the original's promises stay, but for `changes` and the hashes.
    """
    files = {name: entry.model_dump() for name, entry in image.manifest.files.items() if name.startswith("encoder/")}
    files |= {
        path.relative_to(image.root).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in image.root.rglob("*")
        if path.is_file() and path.name != FILE
    }
    whole = {**(told or image.manifest.model_dump()), "files": files, **changes}
    manifest = Manifest.model_validate(whole)
    (image.root / FILE).write_bytes(manifest.canonical())
    return assembled(image, manifest)


def assembled(image: Image, manifest: Manifest | None = None) -> str:
    """Write an image of the encoder and of the folder as it is; return its digest."""
    labels = {}
    if manifest:
        labels = {
            "org.opencontainers.image.title": manifest.customer,
            "cradle.customer": manifest.customer,
            "cradle.release": manifest.release_id,
            "cradle.content-digest": manifest.content_digest,
            "cradle.params-hash": manifest.params_hash,
        }
    rest = write_layer(image.layout, image.root, oci.PREFIX, "rest")
    digest, _ = append_layers(
        image.layout, None, [image.encoder, rest], created=CREATED, labels=labels, config={"Cmd": ["serve"]}
    )
    return digest


def relabelled(image: Image, digest: str, **labels: str) -> str:
    """Change labels of an image and nothing else; return its digest."""
    manifest = oci.get_json(image.layout, digest)
    manifest["annotations"] |= labels
    return oci.put_json(image.layout, manifest)[0]


def topped(image: Image, digest: str, entry: tarfile.TarInfo, *, annotations: dict[str, str] | None = None) -> str:
    """Lay one more layer over an image, with one entry; return the new image's digest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(b"\0" * entry.size))
    data = packed.getvalue()
    layer = f"sha256:{hashlib.sha256(data).hexdigest()}"
    oci.blob_path(image.layout, layer).write_bytes(data)
    manifest = oci.get_json(image.layout, digest)
    config = oci.get_json(image.layout, manifest["config"]["digest"])
    config["rootfs"]["diff_ids"].append(layer)
    told, size = oci.put_json(image.layout, config)
    manifest["config"] |= {"digest": told, "size": size}
    kind = "application/vnd.oci.image.layer.v1.tar"
    manifest["layers"].append({"mediaType": kind, "digest": layer, "size": len(data)})
    if annotations:
        manifest["layers"][-1]["annotations"] = annotations
    return oci.put_json(image.layout, manifest)[0]
