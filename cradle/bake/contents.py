"""The checks of `cradle verify` that compare single blobs, files and tables with what the manifest says of them."""

from __future__ import annotations

from pathlib import Path

import duckdb

from cradle import oci
from cradle.bake.damage import damaged_files
from cradle.bake.exports import check_key_index
from cradle.digest import content_digest, file_sha256
from cradle.errors import VerifyFailed
from cradle.manifest import FILE, Manifest
from cradle.vectors.flat import FlatIndex


def check_blobs(layout: Path, digest: str) -> str:
    """Hash the blobs of an image.

    Raises:
        VerifyFailed: one is missing or damaged; it is named.
    """
    manifest = oci.get_json(layout, digest)
    oci.get_json(layout, manifest["config"]["digest"])
    for entry in manifest["layers"]:
        path = oci.blob_path(layout, entry["digest"])
        name = entry.get("annotations", {}).get("cradle.layer", "base")
        if not path.is_file():
            raise VerifyFailed(f"layer {name}: blob {entry['digest']} is missing")
        if path.stat().st_size != entry["size"] or f"sha256:{file_sha256(path)}" != entry["digest"]:
            found = ", ".join(damaged_files(layout, manifest, entry)) or "outside of its files"
            raise VerifyFailed(f"layer {name}: blob {entry['digest']} is damaged ({found})")
    return f"{len(manifest['layers'])} layers"


def check_files(root: Path, manifest: Manifest) -> str:
    """Compare the files of an unpacked image with its manifest.

    Raises:
        VerifyFailed: one is missing, too many or another.
    """
    have = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {FILE}
    missing, extra = sorted(manifest.files.keys() - have), sorted(have - manifest.files.keys())
    if missing or extra:
        raise VerifyFailed(
            f"missing: {', '.join(missing) or 'none'}; not in the manifest: {', '.join(extra) or 'none'}"
        )
    for path, entry in manifest.files.items():
        if (root / path).stat().st_size != entry.bytes or file_sha256(root / path) != entry.sha256:
            raise VerifyFailed(f"{path} is not the file that was baked")
    return f"{len(have)} files"


def check_table(root: Path, manifest: Manifest, table: str) -> str:
    """Count the rows of a table, hash them, and compare its key index with them.

    Raises:
        VerifyFailed: they are not those of the pinned snapshot.
    """
    entry = manifest.tables[table]
    con = duckdb.connect(":memory:")
    con.execute("set TimeZone = 'UTC'")
    relation = f"read_parquet('{root / entry.file}')"
    (rows,) = con.execute(f"select count(*) from {relation}").fetchall()[0]
    if rows != entry.rows:
        raise VerifyFailed(f"{entry.file} holds {rows} rows where {entry.rows} are promised")
    if content_digest(con, relation) != entry.content_digest:
        raise VerifyFailed(f"{entry.file} holds other rows than the pinned snapshot {entry.snapshot_id}")
    if entry.key_index:
        check_key_index(root / entry.key_index, root / entry.file, entry.key)
    return f"{rows} rows"


def check_vectors(root: Path, manifest: Manifest) -> str:
    """Compare the number and the names of the vectors with the chunks of the tables.

    Raises:
        VerifyFailed: they differ.
    """
    entry = manifest.vectors
    if entry is None:
        return "none promised"
    index = FlatIndex(*(root / part for part in entry.parts))
    con = duckdb.connect(":memory:")
    ids = con.execute(f"select chunk_id from read_parquet('{root / entry.chunks}')").fetchall()
    tables = [one for name, one in manifest.tables.items() if name.endswith("_chunks")]
    known = {row for one in tables for row in con.execute(f"select chunk_id from '{root / one.file}'").fetchall()}
    if not index.count == entry.count == len(ids) or index.dimension != entry.dimension:
        raise VerifyFailed(
            f"the vectors are {index.count} x {index.dimension}, {entry.chunks} {len(ids)} rows; promised are "
            f"{entry.count} x {entry.dimension}"
        )
    if set(ids) != known:
        raise VerifyFailed(f"{entry.chunks} names other chunks than the tables hold")
    return f"{entry.count} x {entry.dimension}"
