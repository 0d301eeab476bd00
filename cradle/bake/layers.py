"""The layers of an image: one per table, one per part of the vectors, one for the encoder.

A layer whose content is known, and whose blob is there, is neither made nor written.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from cradle import oci
from cradle.bake import originals
from cradle.bake.encoder import ENCODER_FORMAT, export_encoder
from cradle.bake.export import EXPORT_FORMAT, write_key_index, write_parquet
from cradle.bake.exports import columns_of, order_of
from cradle.bake.tarball import write_layer
from cradle.bake.vectors import PLACES, VECTORS_FORMAT, Vectors, part_file, words_file
from cradle.catalog import Lake, read, relative_location
from cradle.changes import changes
from cradle.config import Settings
from cradle.digest import canonical_hash, file_sha256
from cradle.installation import Column, Installation
from cradle.manifest import (
    ColumnEntry,
    EncoderEntry,
    FileEntry,
    Manifest,
    NotesEntry,
    OriginalEntry,
    TableEntry,
    VectorsEntry,
)
from cradle.oci import PREFIX, Layer
from cradle.releases import PinnedTable, Release

NOTES: Final = "notes/changes.json"
NOTES_FORMAT: Final = 1
NOTES_ROWS: Final = 200  # rows of a table that are listed of each kind; all are counted
KEYED = ("marts.syndication_products", "marts.orders")  # tables that are looked up by key


class Layers:
    """Makes the layers of one release, or finds them in the layout."""

    def __init__(
        self, settings: Settings, lake: Lake, release: Release, installation: Installation, layout: Path
    ) -> None:
        self.settings, self.lake, self.release, self.layout = settings, lake, release, layout
        self.installation = installation
        self.files: dict[str, FileEntry] = {}
        self.tables: dict[str, TableEntry] = {}
        self.vectors: VectorsEntry | None = None
        self.encoder: EncoderEntry | None = None
        self.originals: dict[str, OriginalEntry] = {}
        self.notes: NotesEntry | None = None
        self.there = oci.digests(layout)

    def layer(
        self, name: str, identity: dict[str, Any], make: Any, *, compress: bool = False
    ) -> tuple[Layer, bool, Any]:
        """Return (layer, reused, facts); `make(folder)` writes its files, and returns facts worth remembering.

        What is remembered is only a hint: without the blob the layer is made again.
        """
        known = {**identity, "bytes": len(identity["bytes"])} if "bytes" in identity else identity
        sha = canonical_hash([str(identity.get("bytes"))]) if "bytes" in identity else ""
        hint = self.layout / "layers" / f"{name}-{canonical_hash({**known, 'sha': sha})}.json"
        known_layer = self._known(hint)
        if known_layer:
            return known_layer
        with tempfile.TemporaryDirectory(dir=self.layout, prefix=".layer-") as folder:
            facts = make(Path(folder))
            files = _file_entries(Path(folder)) if name != "manifest" else {}
            layer = write_layer(self.layout, Path(folder), PREFIX, name, compress=compress)
        hint.parent.mkdir(parents=True, exist_ok=True)
        dumped = {path: entry.model_dump() for path, entry in files.items()}
        temporary = hint.with_suffix(".part")
        temporary.write_bytes(oci.canonical({"layer": asdict(layer), "files": dumped, "facts": facts}))
        temporary.replace(hint)
        self.files.update(files)
        return layer, layer.digest in self.there, facts

    def _known(self, hint: Path) -> tuple[Layer, bool, Any] | None:
        """Return the layer of a hint when its blob is there; a hint that can't be read is no hint."""
        try:
            note = json.loads(hint.read_bytes())
            layer, facts = Layer(**note["layer"]), note["facts"]
            files = {path: FileEntry(**entry) for path, entry in note["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        blob = oci.blob_path(self.layout, layer.digest)
        if not blob.is_file() or blob.stat().st_size != layer.size:
            return None
        os.utime(blob)  # it is in use: `collect` leaves it alone
        self.files.update(files)
        return layer, True, facts

    def table_layers(self) -> list[tuple[Layer, bool, Any]]:
        """One layer per table, with its key index: what has not changed is not shipped again."""
        made = []
        for table, pin in sorted(self.release.pins.items()):
            identity = {"format": EXPORT_FORMAT, "table": table, "content": pin.content_digest, "key": list(pin.key)}
            found = self.layer(table, identity, partial(self._export, table, pin))
            self._describe(table, pin, found[2])
            made.append(found)
        return made

    def _export(self, table: str, pin: PinnedTable, folder: Path) -> list[list[str]]:
        rows = read(self.lake, pin)
        write_parquet(folder / _table_file(table), rows, order_of(rows, pin.key))
        if table in KEYED:
            write_key_index(folder / _key_file(table), rows, pin.key)
        return [list(one) for one in columns_of(rows.schema)]

    def _describe(self, table: str, pin: PinnedTable, columns: list[list[str]]) -> None:
        self.tables[table] = TableEntry(
            file=_table_file(table),
            rows=pin.rows,
            key=pin.key,
            key_index=_key_file(table) if table in KEYED else None,
            columns=described(self.installation, columns),
            content_digest=pin.content_digest,
            snapshot_id=pin.snapshot_id,
            metadata_location=relative_location(self.lake, pin.metadata_location),
        )

    def vector_layers(self) -> list[tuple[Layer, bool, Any]]:
        """The places of the chunks, the parts of vectors and words, the query encoder; none without texts."""
        collection, ledger = self.release.collection, self.release.ledger
        if collection is None or ledger is None:
            return []
        vectors = Vectors(self.lake, self.release)
        identity = {"format": VECTORS_FORMAT, "collection": collection.digest}
        places = self.layer("chunks", identity, vectors.export_places)
        made = [places]
        for part in places[2]:
            known = {"format": VECTORS_FORMAT, "part": part["identity"], "words": part["words"]}
            made.append(self.layer(f"vectors-{part['identity'][:8]}", known, partial(vectors.export_part, part)))
        self.vectors = VectorsEntry(
            parts=tuple(part_file(part) for part in places[2]),
            words=tuple(words_file(part) for part in places[2]),
            chunks=PLACES,
            count=collection.count,
            dimension=collection.dimension,
            collection_digest=collection.digest,
            ledger_snapshot_id=ledger.snapshot_id,
        )
        folder, self.encoder = export_encoder(self.settings, self.installation.embedding, collection.model_key)
        kept = {"format": ENCODER_FORMAT, "model_key": collection.model_key, "loss": self.encoder.loss}
        return [*made, self.layer("encoder", kept, lambda to: _copy_encoder(folder, to), compress=True)]

    def note_layers(self, before: Release | None) -> list[tuple[Layer, bool, Any]]:
        """What changed since the release before this one; only said to be the first when it is."""
        since = before.release_id if before else None
        self.notes = NotesEntry(file=NOTES, since=since)
        known = {"format": NOTES_FORMAT, "since": since, "release": self.release.release_id}
        return [self.layer("notes", known, partial(self._write_notes, since))]

    def _write_notes(self, since: str | None, folder: Path) -> None:
        data = b"null"
        if since is not None:
            found = changes(self.settings, self.release.customer, since, self.release.release_id, NOTES_ROWS)
            data = found.canonical()
        (folder / NOTES).parent.mkdir()
        (folder / NOTES).write_bytes(data)

    def original_layers(self) -> list[tuple[Layer, bool, Any]]:
        """The documents as they were delivered, when the parameters say so; cut by their hash."""
        pin = self.release.pins.get("marts.general_documents")
        if not self.installation.image.originals or pin is None:
            return []
        documents = originals.documents(self.lake, pin)
        self.originals = originals.entries(documents)
        made = []
        for name, digests in originals.parts(documents).items():
            known = {"format": originals.FORMAT, "files": digests}
            made.append(
                self.layer(name, known, partial(originals.export, self.settings, self.release.customer, digests))
            )
        return made

    def manifest(self, base: str | None, port_base: int) -> bytes:
        """Return the manifest of what was made so far."""
        release = self.release
        return Manifest(
            customer=release.customer,
            environment=release.environment,
            release_id=release.release_id,
            logical_date=release.logical_date,
            created_at=release.created_at.isoformat(),
            epoch=release.epoch,
            params_hash=release.params_hash,
            code_version=release.code_version,
            content_digest=release.content_digest,
            base=base,
            port_base=port_base,
            tables=self.tables,
            vectors=self.vectors,
            encoder=self.encoder,
            originals=self.originals,
            notes=self.notes,
            golden=self.installation.image.golden,
            files=self.files,
        ).canonical()


def described(installation: Installation, columns: list[list[str]]) -> tuple[ColumnEntry, ...]:
    """Return columns, given by name and type, with the descriptions and units of the installation block."""
    known: dict[str, Column] = {}
    for source in installation.sources:
        known |= {column.name: column for column in source.columns}
    return tuple(
        ColumnEntry(
            name=name,
            type=kind,
            description=known[name].description if name in known else "",
            unit=known[name].unit if name in known else None,
        )
        for name, kind in columns
    )


def _copy_encoder(folder: Path, to: Path) -> None:
    (to / "encoder").mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (to / "encoder" / name).write_bytes((folder / name).read_bytes())


def _file_entries(folder: Path) -> dict[str, FileEntry]:
    return {
        path.relative_to(folder).as_posix(): FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _table_file(table: str) -> str:
    return f"tables/{table}.parquet"


def _key_file(table: str) -> str:
    return f"keys/{table}.sqlite"
