"""The layers of an image: one per role that has tables, one for the vectors, one for the encoder.

A layer whose content is known, and whose blob is there, is neither made nor written.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from cradle import names
from cradle.bake import oci
from cradle.bake.encoder import ENCODER_FORMAT, export_encoder
from cradle.bake.export import EXPORT_FORMAT, write_key_index, write_parquet
from cradle.bake.oci import Layer
from cradle.catalog import Lake, read, relative_location
from cradle.config import Settings
from cradle.digest import canonical_hash, file_sha256
from cradle.errors import MissingStep
from cradle.indexing.ledger import ledger_rows
from cradle.installation import Column, Installation
from cradle.manifest import ColumnEntry, EncoderEntry, FileEntry, Manifest, TableEntry, VectorsEntry
from cradle.releases import PinnedTable, Release
from cradle.vectors.digest import vector_matrix
from cradle.vectors.flat import write_flat

PREFIX = "cradle"  # folder in the image
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

    def layer(
        self, name: str, identity: dict[str, Any], make: Any, *, compress: bool = False
    ) -> tuple[Layer, bool, Any]:
        """Return (layer, reused, facts); `make(folder)` writes its files, and returns facts worth remembering.

        What is remembered is only a hint: without the blob the layer is made again.
        """
        known = {**identity, "bytes": len(identity["bytes"])} if "bytes" in identity else identity
        sha = canonical_hash([str(identity.get("bytes"))]) if "bytes" in identity else ""
        hint = self.layout / "layers" / f"{name}-{canonical_hash({**known, 'sha': sha})}.json"
        if hint.is_file():
            note = json.loads(hint.read_bytes())
            layer = Layer(**note["layer"])
            blob = oci.blob_path(self.layout, layer.digest)
            if blob.is_file() and blob.stat().st_size == layer.size:
                self.files.update({path: FileEntry(**entry) for path, entry in note["files"].items()})
                return layer, True, note["facts"]
        with tempfile.TemporaryDirectory(dir=self.layout, prefix=".layer-") as folder:
            facts = make(Path(folder))
            files = _file_entries(Path(folder)) if name != "manifest" else {}
            layer = oci.write_layer(self.layout, Path(folder), PREFIX, name, compress=compress)
        hint.parent.mkdir(parents=True, exist_ok=True)
        dumped = {path: entry.model_dump() for path, entry in files.items()}
        temporary = hint.with_suffix(".part")
        temporary.write_bytes(oci.canonical({"layer": asdict(layer), "files": dumped, "facts": facts}))
        temporary.replace(hint)
        self.files.update(files)
        return layer, False, facts

    def table_layers(self) -> list[tuple[Layer, bool, Any]]:
        """One layer per role that has tables: what changes together ships together."""
        made = []
        for role, tables in names.RELEASE_TABLES.items():
            pins = {table: self.release.pins[table] for table in tables if table in self.release.pins}
            if pins:
                content = {table: [pin.content_digest, list(pin.key)] for table, pin in pins.items()}
                identity = {"format": EXPORT_FORMAT, "tables": content}
                found = self.layer(role, identity, lambda folder, pins=pins: self._export(folder, pins))
                self._describe_tables(pins, found[2])
                made.append(found)
        return made

    def _export(self, folder: Path, pins: dict[str, PinnedTable]) -> dict[str, Any]:
        facts = {}
        for table, pin in pins.items():
            rows = read(self.lake, pin)
            write_parquet(folder / _table_file(table), rows, pin.key)
            if table in KEYED:
                write_key_index(folder / _key_file(table), rows, pin.key)
            facts[table] = [[field.name, _type_name(field.type)] for field in rows.schema]
        return facts

    def _describe_tables(self, pins: dict[str, PinnedTable], facts: dict[str, Any]) -> None:
        known: dict[str, Column] = {}
        for source in self.installation.sources:
            known |= {column.name: column for column in source.columns}
        for table, pin in pins.items():
            columns = tuple(
                ColumnEntry(
                    name=name,
                    type=kind,
                    description=known[name].description if name in known else "",
                    unit=known[name].unit if name in known else None,
                )
                for name, kind in facts[table]
            )
            self.tables[table] = TableEntry(
                file=_table_file(table),
                rows=pin.rows,
                key=pin.key,
                key_index=_key_file(table) if table in KEYED else None,
                columns=columns,
                content_digest=pin.content_digest,
                snapshot_id=pin.snapshot_id,
                metadata_location=relative_location(self.lake, pin.metadata_location),
            )

    def vector_layers(self) -> list[tuple[Layer, bool, Any]]:
        """The flat index and the query encoder; none for a customer without texts."""
        collection, ledger = self.release.collection, self.release.ledger
        if collection is None or ledger is None:
            return []
        identity = {"format": EXPORT_FORMAT, "collection": collection.digest}
        vectors = self.layer("vectors", identity, self._export_vectors)
        self.vectors = VectorsEntry(
            index="vectors/flat.faiss",
            chunks="vectors/chunks.parquet",
            count=collection.count,
            dimension=collection.dimension,
            collection_digest=collection.digest,
            ledger_snapshot_id=ledger.snapshot_id,
        )
        folder, self.encoder = export_encoder(self.settings, self.installation.embedding, collection.model_key)
        known = {"format": ENCODER_FORMAT, "model_key": collection.model_key, "loss": self.encoder.loss}
        return [vectors, self.layer("encoder", known, lambda to: _copy_encoder(folder, to), compress=True)]

    def _export_vectors(self, folder: Path) -> None:
        parts = []
        for table, corpus in (("marts.products_chunks", "products"), ("marts.general_chunks", "general")):
            if table in self.release.pins:
                rows = read(self.lake, self.release.pins[table], ("chunk_id", "document_id", "content_hash"))
                parts.append(rows.append_column("corpus", pa.repeat(pa.scalar(corpus), rows.num_rows)))
        rows = pa.concat_tables(parts).sort_by("chunk_id")
        assert self.release.collection is not None
        assert self.release.ledger is not None
        hashes = rows.column("content_hash").to_pylist()
        ledger = str(self.release.ledger.snapshot_id)
        known = ledger_rows(self.lake, self.release.collection.model_key, sorted(set(hashes)), ledger)
        place = {one: at for at, one in enumerate(known.column("content_hash").to_pylist())}
        missing = [one for one in hashes if one not in place]
        if missing:
            raise MissingStep(
                f"release {self.release.short_id}: {len(missing)} chunk(s) have no vector in the pinned ledger. "
                f"Run `cradle night {self.release.customer}`."
            )
        order = pa.array([place[one] for one in hashes], pa.int64())
        (folder / "vectors").mkdir()
        write_flat(folder / "vectors" / "flat.faiss", vector_matrix(known.column("embedding").take(order)))
        write_parquet(folder / "vectors" / "chunks.parquet", rows, ("chunk_id",))

    def manifest(self) -> bytes:
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
            tables=self.tables,
            vectors=self.vectors,
            encoder=self.encoder,
            golden=self.installation.image.golden,
            files=self.files,
        ).canonical()


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


def _type_name(kind: pa.DataType) -> str:
    return str(kind).removeprefix("large_")
