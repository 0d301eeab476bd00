"""A lighting catalogue as the stages of search need it: products, chunks, vectors, and an image of them.

Texts are those of the example customer `lightnet`, cut and embedded by the product's code; without catalog and dbt, so
that a stage is prepared in seconds.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

import fastexcel
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from cradle.bake.encoder import export_encoder
from cradle.bake.export import write_key_index, write_parquet
from cradle.bake.exports import columns_of, order_of
from cradle.bake.vectors import ORDER, PLACES, cut, identities, part_file, searched, words_file
from cradle.chunk import chunk_document
from cradle.config import PROJECT, Settings
from cradle.customers import load_customer
from cradle.embed import load_embedder, model_folder, model_key
from cradle.examples.lightnet import FULL, lightnet_files
from cradle.installation import Column, Embedding
from cradle.manifest import ColumnEntry, Manifest, TableEntry, VectorsEntry
from cradle.vectors.flat import write_flat
from cradle.words.index import write_words

WIDE: Final = 1024  # dimension of the production model
CHUNKS: Final = "marts.products_chunks"
PRODUCTS: Final = "marts.syndication_products"


def described() -> tuple[Column, ...]:
    """Return the columns of the example customer's products."""
    sources = load_customer(PROJECT / "data" / "customers", "lightnet").installation.sources
    return next(one for one in sources if one.role == "products").columns


def products(count: int) -> pa.Table:
    """Return the products as they are delivered, by the names of the customer's columns; whole numbers are numbers."""
    columns = described()
    parts = []
    for path, content, _ in lightnet_files(42, None if count >= FULL else count):
        if path.endswith(".csv"):
            encoding = "utf-8" if _is_utf8(content) else "cp1252"
            every = {column.header: pa.string() for column in columns}
            read = pacsv.ReadOptions(encoding=encoding)
            convert = pacsv.ConvertOptions(column_types=every, strings_can_be_null=True)
            delimited = pacsv.ParseOptions(delimiter=";", newlines_in_values=True)
            parts.append(pacsv.read_csv(io.BytesIO(content), read, delimited, convert))
        elif path.endswith(".xlsx"):
            sheet = fastexcel.read_excel(content).load_sheet(0, dtypes="string")
            parts.append(pa.Table.from_batches([sheet.to_arrow()]))
    rows = pa.concat_tables([part.select([one.header for one in columns]).cast(_texts(columns)) for part in parts])
    rows = rows.rename_columns([one.name for one in columns])
    first = dict(reversed(list(zip(rows.column("sku").to_pylist(), range(rows.num_rows), strict=True))))
    rows = rows.take(pa.array(sorted(first.values()))).sort_by("sku")
    kelvin = rows.column("cct_k").cast(pa.int64())
    return rows.set_column(rows.column_names.index("cct_k"), "cct_k", kelvin)


def _texts(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([pa.field(one.header, pa.string()) for one in columns])


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def chunks(rows: pa.Table) -> pa.Table:
    """Return the chunks of the products' texts, in the order of an image's rows."""
    told = described()
    prose = [one for one in told if one.in_text and one.name.startswith("description")]
    listed = [one for one in told if one.in_text and one not in prose]
    made = list[dict[str, Any]]()
    for row in rows.to_pylist():
        lines = [
            f"- {one.label or one.name}: {row[one.name]} {one.unit or ''}".strip() for one in listed if row[one.name]
        ]
        parts = [f"# {row['name']}", *(row[one.name] for one in prose if row[one.name])]
        text = "\n\n".join([*parts, "\n".join([f"- SKU: {row['sku']}", *lines])])
        for chunk in chunk_document(row["sku"], text, max_chars=700, overlap_chars=80):
            made.append({**asdict(chunk), "title": row["name"], "sku": row["sku"], "source_file": None})
    table = pa.Table.from_pylist(made).append_column("corpus", pa.repeat(pa.scalar("products"), len(made)))
    return table.set_column(
        table.column_names.index("position"), "position", table.column("position").cast(pa.int32())
    ).sort_by([(name, "ascending") for name in ORDER])


def embedding() -> Embedding:
    """Return the model of the example customers."""
    return Embedding(model="sentence-transformers/all-MiniLM-L6-v2", max_tokens=256)


def vectors(settings: Settings, rows: pa.Table) -> NDArray[np.float32]:
    """Return the vector of each chunk; equal texts are embedded once."""
    texts = rows.column("text").to_pylist()
    distinct = sorted(set(texts))
    known = load_embedder(settings, embedding()).encode(distinct)
    place = {text: at for at, text in enumerate(distinct)}
    found: NDArray[np.float32] = known[[place[text] for text in texts]]
    return found


def widened(narrow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors in the production model's dimension: through one orthonormal matrix, so that all angles stay."""
    drawn = np.random.default_rng(7).normal(size=(WIDE, narrow.shape[1]))
    turned: NDArray[np.float32] = (narrow @ np.linalg.qr(drawn)[0].T.astype(np.float32)).astype(np.float32)
    return turned


def image(settings: Settings, root: Path, rows: pa.Table, texts: pa.Table, found: NDArray[np.float32]) -> None:
    """Write the files of an unpacked image with these products, chunks and vectors."""
    tables = {}
    for name, table, key in ((PRODUCTS, rows, ("sku",)), (CHUNKS, texts.drop_columns(["corpus"]), ("chunk_id",))):
        write_parquet(root / f"tables/{name}.parquet", table, order_of(table, key))
        indexed = f"keys/{name}.sqlite" if name == PRODUCTS else None
        if indexed:
            write_key_index(root / indexed, table, key)
        tables[name] = TableEntry(
            file=f"tables/{name}.parquet",
            rows=table.num_rows,
            key=key,
            key_index=indexed,
            columns=tuple(ColumnEntry(name=one, type=kind) for one, kind in columns_of(table.schema)),
            content_digest="",
            snapshot_id=0,
            metadata_location="",
        )
    parts = _parts(root, texts, found)
    folder, encoder = export_encoder(settings, embedding(), model_key(model_folder(settings, embedding()), embedding()))
    (root / "encoder").mkdir()
    for file in ("model.onnx", "tokenizer.json"):
        shutil.copyfile(folder / file, root / "encoder" / file)
    known = VectorsEntry(
        parts=tuple(part_file(one) for one in parts),
        words=tuple(words_file(one) for one in parts),
        chunks=PLACES,
        count=len(found),
        dimension=found.shape[1],
        collection_digest="",
        ledger_snapshot_id=0,
    )
    about = dict.fromkeys(("params_hash", "code_version", "content_digest", "created_at"), "")
    told = Manifest(
        customer="lightnet",
        environment="bench",
        release_id="0" * 64,
        logical_date=date(2026, 1, 1),
        epoch=1,
        base=None,
        port_base=9310,
        tables=tables,
        vectors=known,
        encoder=encoder,
        notes=None,
        golden=(),
        files={},
        **about,
    )
    (root / "manifest.json").write_bytes(told.canonical())


def _parts(root: Path, texts: pa.Table, found: NDArray[np.float32]) -> list[dict[str, Any]]:
    write_parquet(root / PLACES, texts.select(list(ORDER)), ORDER)
    (root / "words").mkdir()
    hashes, titles = texts.column("content_hash").to_pylist(), texts.column("title").to_pylist()
    ends = cut(texts.column("chunk_id").to_pylist())
    parts = []
    for start, end in zip([0, *ends], ends, strict=False):
        one = identities("", hashes[start:end], titles[start:end])
        write_flat(root / part_file(one), found[start:end])
        write_words(root / words_file(one), searched(texts.slice(start, end - start)))
        parts.append(one)
    return parts


def ready(folder: Path, count: int) -> tuple[pa.Table, pa.Table, NDArray[np.float32]]:
    """Return products, chunks and vectors of so many products; what they need is kept in the folder."""
    rows = products(count)
    texts = chunks(rows)
    found = vectors(Settings(home=folder / "home", customers=PROJECT / "data" / "customers"), texts)
    return rows, texts, found
