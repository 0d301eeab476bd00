"""Faults that a forger plants in an image: each changes its files and returns the digest of the image of them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq

from cradle import oci
from cradle.bake.export import write_parquet
from cradle.bake.vectors import ORDER
from cradle.tags import new_canary, new_secret_tag
from cradle.vectors.flat import FlatIndex, write_flat
from tests.forging import Image, assembled, consistent, edit, relabelled, rewrite, sealed, topped

ORDERS = "marts.orders"


def dropped_row(image: Image) -> str:
    rewrite(image, ORDERS, lambda rows: rows.slice(1))
    return sealed(image, tables=consistent(image)["tables"])


def dropped_row_as_promised(image: Image) -> str:
    rewrite(image, ORDERS, lambda rows: rows.slice(1))
    told = image.manifest.model_dump()
    told["tables"][ORDERS]["rows"] = 999
    return sealed(image, told)


def dropped_row_uncounted(image: Image) -> str:
    rewrite(image, ORDERS, lambda rows: rows.slice(1))
    return sealed(image)


def added_row(image: Image) -> str:
    more = edit("* replace ('ORD-9999' as order_id)")
    rewrite(image, ORDERS, lambda rows: pa.concat_tables([rows, more(rows.slice(0, 1))]))
    told = image.manifest.model_dump()
    told["tables"][ORDERS]["rows"] = 1001
    return sealed(image, told)


def changed_cell(image: Image) -> str:
    cheaper = "* replace (case when order_id = 'ORD-0001' then amount - 0.0001 else amount end as amount)"
    rewrite(image, ORDERS, edit(cheaper))
    return sealed(image)


def changed_cell_with_a_release_of_its_own(image: Image) -> str:
    cheaper = "* replace (case when order_id = 'ORD-0001' then amount - 0.0001 else amount end as amount)"
    rewrite(image, ORDERS, edit(cheaper))
    return sealed(image, consistent(image))


def rows_in_another_order(image: Image) -> str:
    write_parquet(image.root / image.manifest.tables[ORDERS].file, image.rows(ORDERS), ("product",))
    return sealed(image)


def index_with(*statements: str) -> Callable[[Image], str]:
    def fault(image: Image) -> str:
        with contextlib.closing(sqlite3.connect(image.root / "keys" / f"{ORDERS}.sqlite")) as con, con:
            con.execute("pragma secure_delete = off")
            for statement in statements:
                assert con.execute(statement).rowcount
        return sealed(image)

    return fault


def text_in_a_cell(text: Callable[[], str]) -> Callable[[Image], str]:
    """The text stands in one row, and everything up to the release's id is made to fit."""

    def fault(image: Image) -> str:
        planted = f"* replace (case when order_id = 'ORD-0500' then 'Laptop {text()}' else product end as product)"
        rewrite(image, ORDERS, edit(planted))
        return sealed(image, consistent(image))

    return fault


def tag_in_a_dictionary(image: Image) -> str:
    """No row shows it: it stands in the column's dictionary alone, as an export of filtered rows would leave it."""
    rows = image.rows(ORDERS)
    at = rows.column_names.index("product")
    known = rows.column("product").combine_chunks().dictionary_encode()
    words = pa.concat_arrays([known.dictionary, pa.array([new_canary("other_shop")])])
    more = pa.DictionaryArray.from_arrays(known.indices, words)
    pq.write_table(
        rows.set_column(at, "product", more), image.root / "tables" / f"{ORDERS}.parquet", store_schema=False
    )
    return sealed(image)


def tag_in_the_tokenizer(image: Image, origin: Path) -> str:
    content = json.loads((origin / "encoder" / "tokenizer.json").read_text(encoding="utf-8"))
    (image.root / "encoder").mkdir()
    text = json.dumps({**content, "note": new_secret_tag("other_shop")})
    (image.root / "encoder" / "tokenizer.json").write_text(text, encoding="utf-8")
    return sealed(image)


def other_weights(image: Image, origin: Path) -> str:
    model = onnx.load(origin / "encoder" / "model.onnx")
    largest = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weights = onnx.numpy_helper.to_array(largest)[::-1]
    largest.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(weights), largest.name))
    (image.root / "encoder").mkdir()
    onnx.save(model, image.root / "encoder" / "model.onnx")
    return sealed(image)


def slightly_other_weights(image: Image, origin: Path) -> str:
    data = bytearray((origin / "encoder" / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (image.root / "encoder").mkdir()
    (image.root / "encoder" / "model.onnx").write_bytes(data)
    return sealed(image)


def exchanged_tokenizer(image: Image, origin: Path) -> str:
    content = json.loads((origin / "encoder" / "tokenizer.json").read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    plain = [word for word in words if word.isalpha()]
    for word, other in zip(plain, reversed([words[word] for word in plain]), strict=True):
        words[word] = other
    (image.root / "encoder").mkdir()
    (image.root / "encoder" / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return sealed(image)


def no_encoder(image: Image) -> str:
    (image.root / "encoder").mkdir()
    (image.root / "encoder" / "model.onnx").write_bytes(b"no model")
    return sealed(image)


def vectors_as(change: Callable[[Any], Any]) -> Callable[[Image], str]:
    def fault(image: Image) -> str:
        assert image.manifest.vectors is not None
        path = image.root / image.manifest.vectors.parts[0]
        write_flat(path, change(FlatIndex(path).vectors()))
        return sealed(image)

    return fault


def swapped(vectors: Any) -> Any:
    """Exchange two vectors that stand where no text is encoded again."""
    vectors[[3, 9]] = vectors[[9, 3]]
    return vectors


def nudged(vectors: Any) -> Any:
    """Change one number by the least that 16 bits can tell."""
    value = vectors[7, 7].astype(np.float16)
    vectors[7, 7] = np.nextafter(value, np.float16(1))
    return vectors


def lacking_a_chunk(image: Image) -> str:
    assert image.manifest.vectors is not None
    rows = pq.read_table(image.root / image.manifest.vectors.chunks)
    write_parquet(image.root / image.manifest.vectors.chunks, rows.slice(1), ORDER)
    told = image.manifest.model_dump()
    told["vectors"]["count"] -= 1
    path = image.root / image.manifest.vectors.parts[0]
    write_flat(path, FlatIndex(path).vectors()[1:])
    return sealed(image, told)


def another_chunk(image: Image) -> str:
    assert image.manifest.vectors is not None
    path = image.root / image.manifest.vectors.chunks
    rows = pq.read_table(path)
    write_parquet(path, edit("* replace ('0' || chunk_id[2:] as chunk_id)")(rows), ORDER)
    return sealed(image)


def places_in_another_order(image: Image) -> str:
    """The same chunks, but two documents stand at each other's vectors."""
    assert image.manifest.vectors is not None
    path = image.root / image.manifest.vectors.chunks
    rows = pq.read_table(path)
    write_parquet(path, rows, ("chunk_id",))
    return sealed(image)


def told_as(**changes: Any) -> Callable[[Image], str]:
    return lambda image: sealed(image, **changes)


def told_consistently(**changes: Any) -> Callable[[Image], str]:
    return lambda image: sealed(image, consistent(image, **changes))


def another_collection(image: Image) -> str:
    told = image.manifest.model_dump()
    told["vectors"]["collection_digest"] = "0" * 64
    return sealed(image, told)


def another_collection_consistently(image: Image) -> str:
    vectors = {**image.manifest.model_dump()["vectors"], "collection_digest": "0" * 64}
    return sealed(image, consistent(image, vectors=vectors))


def another_column(image: Image) -> str:
    told = image.manifest.model_dump()
    told["tables"][ORDERS]["columns"][0]["name"] = "order_number"
    return sealed(image, told)


def another_unit(image: Image) -> str:
    told = image.manifest.model_dump()
    (weight,) = [one for one in told["tables"]["marts.syndication_products"]["columns"] if one["name"] == "weight_kg"]
    weight["unit"] = "g"
    return sealed(image, told)


def another_label(image: Image) -> str:
    return relabelled(image, sealed(image), **{"cradle.customer": "other_shop"})


def a_file_more_and_one_less(image: Image) -> str:
    (image.root / "tables" / "more.parquet").write_bytes(b"")
    (image.root / "tables" / f"{ORDERS}.parquet").unlink()
    return assembled(image)


def a_file_more(image: Image) -> str:
    (image.root / "tables" / "more.txt").write_text("nobody promised this", encoding="utf-8")
    return assembled(image)


def with_entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **more: Any) -> Callable[[Image], str]:
    def fault(image: Image) -> str:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, target, 0 if target else 8
        return topped(image, sealed(image), entry, **more)

    return fault


DATA = {"annotations": {oci.DATA: "more"}}
# name → (fault, check that finds it, what it must say, whether the image alone gives it away)
FAULTS: dict[str, tuple[Callable[..., str], str, str, bool]] = {
    "dropped row": (dropped_row_uncounted, "table marts.orders", "holds 999 rows where 1000 are promised", True),
    "dropped row, counted": (dropped_row_as_promised, "table marts.orders", "other rows than the pinned", True),
    "dropped row, digest forged": (dropped_row, "identity", "does not follow from the digests of the tables", True),
    "added row": (added_row, "table marts.orders", "other rows than the pinned", True),
    "changed cell": (changed_cell, "table marts.orders", "other rows than the pinned", True),
    "changed cell, release forged": (
        changed_cell_with_a_release_of_its_own,
        "release",
        "columns|content_digest|marts.orders",
        False,
    ),
    "rows in another order": (rows_in_another_order, "exports", "orders.parquet is not what its own rows export", True),
    "two keys swapped": (
        index_with(
            "update rows set key = 'x' where key = 'ORD-0002'",
            "update rows set key = 'ORD-0002' where key = 'ORD-0003'",
            "update rows set key = 'ORD-0003' where key = 'x'",
        ),
        "table marts.orders",
        "marts.orders.sqlite holds another row than marts.orders.parquet at 'ORD-0002'",
        True,
    ),
    "key of another row": (
        index_with("update rows set place = place + 1 where key = 'ORD-0001'"),
        "table marts.orders",
        "marts.orders.sqlite holds another row than marts.orders.parquet at 'ORD-0001'",
        True,
    ),
    "key missing": (
        index_with("delete from rows where key = 'ORD-0500'"),
        "table marts.orders",
        "holds 999 rows",
        True,
    ),
    "row kept in a gap of the key index": (
        index_with(
            "create table left_over (row text)", "insert into left_over values ('an old row')", "drop table left_over"
        ),
        "table marts.orders",
        "marts.orders.sqlite holds the rows of marts.orders.parquet, and other bytes",
        True,
    ),
    "another customer's row": (
        text_in_a_cell(lambda: new_canary("other_shop")),
        "leaks",
        r"marts.orders.parquet: canary of other_shop \(column product, row group 0\)",
        True,
    ),
    "another customer's row behind compression": (
        tag_in_a_dictionary,
        "leaks",
        r"marts.orders.parquet: canary of other_shop \(column product",
        True,
    ),
    "secret of the customer": (
        text_in_a_cell(lambda: new_secret_tag("demo")),
        "leaks",
        r"marts.orders.sqlite: tag of a secret of demo \(table blocks, column data\)",
        True,
    ),
    "another customer's secret in a file": (
        tag_in_the_tokenizer,
        "leaks",
        r"encoder/tokenizer.json: tag of a secret of other_shop",
        True,
    ),
    "key of a cloud": (
        text_in_a_cell(lambda: "AKIA" + "Q3EGVX5ZQ7RJH2LN"),
        "secrets",
        r"marts.orders.sqlite: AWS Access Key \(table blocks, column data\)",
        True,
    ),
    "private key": (
        text_in_a_cell(lambda: "-----BEGIN " + "RSA PRIVATE KEY-----"),
        "secrets",
        r"marts.orders.parquet: Private Key \(column product, row group 0\)",
        True,
    ),
    "other weights under the promised key": (
        other_weights,
        "encoder",
        "model.onnx.* or the vectors are exchanged",
        True,
    ),
    "one bit of the weights": (slightly_other_weights, "release", "model.onnx is not the encoder that was exp", False),
    "exchanged tokenizer": (exchanged_tokenizer, "encoder", "exchanged", True),
    "no encoder": (no_encoder, "encoder", "encoder/model.onnx", True),
    "vectors in another order": (vectors_as(lambda all_: all_[::-1]), "encoder", "exchanged", True),
    "two vectors swapped": (vectors_as(swapped), "release", "2 vectors are not those of the ledger", False),
    "last digit of a vector": (vectors_as(nudged), "release", "1 vectors are not those of the ledger", False),
    "vector of no length": (vectors_as(lambda all_: all_ * 2), "exports", "is no unit vector, its length is 2", True),
    "vector lacking": (vectors_as(lambda all_: all_[:-1]), "vectors", "the vectors are 18 x 384", True),
    "chunk and vector lacking": (lacking_a_chunk, "vectors", "names other chunks than the tables hold", True),
    "chunk that no table holds": (another_chunk, "vectors", "names other chunks than the tables hold", True),
    "chunks at other vectors": (places_in_another_order, "exports", "chunks.parquet names other chunks.*order", True),
    "wrong customer": (told_as(customer="other_shop"), "release", "customer = 'other_shop'", False),
    "wrong customer on the label": (another_label, "identity", "label cradle.customer", True),
    "wrong release id": (told_as(release_id="0" * 64), "identity", "release id 000000000000 does not follow", True),
    "wrong parameters hash": (told_as(params_hash="0" * 64), "identity", "parameters hash 000000000000", True),
    "wrong parameters hash, release forged": (
        told_consistently(params_hash="0" * 64),
        "release",
        "params_hash = '000000",
        False,
    ),
    "wrong content digest": (told_as(content_digest="0" * 64), "identity", "content digest 000000000000", True),
    "collection digest that does not fit": (another_collection, "identity", "does not follow from.*collection", True),
    "collection digest that does not fit, release forged": (
        another_collection_consistently,
        "release",
        "collection|content_digest",
        False,
    ),
    "no questions": (told_as(golden=()), "release", r"golden = \(\)", False),
    "another column": (another_column, "exports", "orders.parquet has other columns than promised.*order_number", True),
    "another unit": (another_unit, "release", "columns of marts.syndication_products", False),
    "file that nobody promised": (a_file_more, "files", "not in the manifest: tables/more.txt", True),
    "file exchanged for another": (
        a_file_more_and_one_less,
        "files",
        "missing: tables/marts.orders.parquet; not in the manifest: tables/more.parquet",
        True,
    ),
    "symbolic link": (
        with_entry("cradle/tables/x", tarfile.SYMTYPE, "/etc/passwd", **DATA),
        "unpack",
        "'cradle/tables/x' is no plain file below cradle/",
        True,
    ),
    "hard link": (
        with_entry("cradle/tables/x", tarfile.LNKTYPE, "etc/passwd", **DATA),
        "unpack",
        "'cradle/tables/x' is no plain file",
        True,
    ),
    "absolute path": (with_entry("/etc/cron.d/x", **DATA), "unpack", "'/etc/cron.d/x' is no plain file", True),
    "path that climbs": (with_entry("cradle/../etc/x", **DATA), "unpack", "'cradle/../etc/x' is no plain file", True),
    "layer that hides": (with_entry("cradle/tables/x"), "identity", "neither of the base nor of the release", True),
}
