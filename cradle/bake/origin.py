"""Whether an image is the one of its release: compared with the release row, the ledger and the factory's encoder.

Where the lake is, a forger has to change it too. Elsewhere the publisher's signature stands for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cradle.bake.encoder import encoder_folder
from cradle.bake.exports import chunk_rows
from cradle.bake.image import before, first_with
from cradle.bake.layers import described
from cradle.catalog import Lake, relative_location
from cradle.catalog.epochs import epochs
from cradle.errors import VerifyFailed
from cradle.indexing.ledger import ledger_rows
from cradle.manifest import EncoderEntry, Manifest, VectorsEntry
from cradle.releases import Release
from cradle.vectors.digest import METADATA, collection_digest, vector_matrix
from cradle.vectors.flat import FlatIndex


def check_origin(lake: Lake, release: Release, root: Path, manifest: Manifest) -> str:
    """Compare an image with the release that it was baked from.

    Raises:
        VerifyFailed: it is of another release, or holds something that the release does not; the fault is named.
    """
    told, known = _told(manifest), _known(lake, first_with(lake, release), manifest)
    for name in sorted(known.keys() | told.keys()):
        if told.get(name) != known.get(name):
            raise VerifyFailed(
                f"the manifest says {name} = {told.get(name)!r}; release {release.short_id} says {known.get(name)!r}"
            )
    if manifest.vectors and manifest.encoder:
        _same_vectors(lake, root, manifest, manifest.vectors, manifest.encoder)
        _same_encoder(lake, manifest, manifest.encoder)
    return f"release {release.short_id} of {release.logical_date}"


def _told(manifest: Manifest) -> dict[str, Any]:
    names = ("customer", "environment", "release_id", "logical_date", "created_at", "epoch", "params_hash")
    told = {name: getattr(manifest, name) for name in (*names, "code_version", "content_digest", "golden")}
    for name, table in manifest.tables.items():
        told[name] = (table.rows, table.key, table.content_digest, table.snapshot_id, table.metadata_location)
        told[f"columns of {name}"] = table.columns
    told["originals"], told["notes"] = bool(manifest.originals), manifest.notes.since if manifest.notes else None
    if manifest.vectors:
        vectors = manifest.vectors
        told["collection"] = (vectors.collection_digest, vectors.count, vectors.dimension)
        told["ledger"] = vectors.ledger_snapshot_id
    if manifest.encoder:
        told["model_key"] = manifest.encoder.model_key
    return told


def _known(lake: Lake, release: Release, manifest: Manifest) -> dict[str, Any]:
    names = ("customer", "environment", "release_id", "logical_date", "epoch", "params_hash", "code_version")
    known = {name: getattr(release, name) for name in (*names, "content_digest")}
    known["created_at"] = release.created_at.isoformat()
    installation = next(one.installation for one in epochs(lake) if one.epoch == release.epoch)
    known["golden"] = installation.image.golden
    for name, pin in release.pins.items():
        location = relative_location(lake, pin.metadata_location)
        known[name] = (pin.rows, pin.key, pin.content_digest, pin.snapshot_id, location)
        if name in manifest.tables:  # names and types were compared with the file
            columns = [[one.name, one.type] for one in manifest.tables[name].columns]
            known[f"columns of {name}"] = described(installation, columns)
    known["originals"] = installation.image.originals and "marts.general_documents" in release.pins
    since = before(lake, release)
    known["notes"] = since.release_id if since else None
    if release.collection and release.ledger:
        collection = release.collection
        known["collection"] = (collection.digest, collection.count, collection.dimension)
        known["ledger"] = release.ledger.snapshot_id
        known["model_key"] = collection.model_key
    return known


def _same_vectors(lake: Lake, root: Path, manifest: Manifest, entry: VectorsEntry, encoder: EncoderEntry) -> None:
    """Compare every vector with the ledger, and the collection digest with what the image's chunks and it give."""
    rows = chunk_rows(root, manifest, ("chunk_id", "content_hash", *(one for one in METADATA if one != "corpus")))
    hashes = rows.column("content_hash").to_pylist()
    ledger = ledger_rows(lake, encoder.model_key, sorted(set(hashes)), str(entry.ledger_snapshot_id))
    place = {one: at for at, one in enumerate(ledger.column("content_hash").to_pylist())}
    missing = [one for one in hashes if one not in place]
    if missing:
        raise VerifyFailed(f"{len(missing)} chunks have no vector in the pinned ledger, the first is {missing[0][:12]}")
    order = pa.array([place[one] for one in hashes], pa.int64())
    _same_parts(root, entry, ledger.column("embedding"), order, rows.column("chunk_id"))
    embedding = ledger.column("embedding").take(order)
    digest = collection_digest(rows.append_column("embedding", embedding), encoder.model_key)
    if digest != entry.collection_digest:
        raise VerifyFailed(
            f"collection digest {entry.collection_digest[:12]} does not fit: chunks and ledger give {digest[:12]}"
        )


def _same_parts(root: Path, entry: VectorsEntry, known: Any, order: Any, chunk_ids: Any) -> None:
    """Compare vectors with those of the ledger, a part of the index at a time: all of them take gigabytes."""
    wrong: list[int] = []
    start = 0
    for part in entry.parts:
        baked = FlatIndex(root / part).vectors()
        ours = vector_matrix(known.take(order[start : start + len(baked)]))
        differ = (baked != ours.astype(np.float16).astype(np.float32)).any(axis=1)
        wrong += (np.flatnonzero(differ) + start).tolist()
        start += len(baked)
    if wrong:
        raise VerifyFailed(
            f"{len(wrong)} vectors are not those of the ledger, the first is {wrong[0]}, of chunk {chunk_ids[wrong[0]]}"
        )


def _same_encoder(lake: Lake, manifest: Manifest, entry: EncoderEntry) -> None:
    """Compare the encoder's files with those that this factory exported, if it did."""
    path = encoder_folder(lake.settings, entry.model_key) / "encoder.json"
    if not path.is_file():
        return
    note = json.loads(path.read_bytes())
    exported = note.pop("sha256")
    if entry != EncoderEntry.model_validate(note):
        raise VerifyFailed(f"the manifest tells another encoder than was exported for model key {entry.model_key[:12]}")
    for file in (entry.file, entry.tokenizer):
        if manifest.files[file].sha256 != exported[Path(file).name]:
            raise VerifyFailed(f"{file} is not the encoder that was exported for model key {entry.model_key[:12]}")
