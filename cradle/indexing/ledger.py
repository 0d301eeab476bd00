"""The verb `embed`: each text that no vector is known for is embedded, once for all time.

The ledger `vectors.embeddings` only grows; it is keyed by content hash and model key.
Flow: marts.*_chunks on the branch of the date → texts without a vector → vectors.embeddings
Run:  cradle embed demo
"""

from __future__ import annotations

import time
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle import names
from cradle.catalog import Lake, read, resolve, write_once
from cradle.catalog.run import Run, open_run
from cradle.config import Settings
from cradle.digest import step_key
from cradle.embed import Vectors, load_embedder, model_folder, model_key
from cradle.indexing.chunks import CORPORA, need
from cradle.log import get
from cradle.outcomes import outcome

log = get("embed")
PART = 8192  # texts of one commit: a restart loses at most the work of one part
EVERY_SECONDS = 5.0
SCHEMA = pa.schema(
    [
        pa.field("content_hash", pa.string()),
        pa.field("model_key", pa.string()),
        pa.field("dimension", pa.int32()),
        pa.field("embedding", pa.list_(pa.float32())),
    ]
)


class EmbedResult(BaseModel):
    """What a run of `embed` did; `distinct` texts = `reused` + `embedded`."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    chunks: int
    distinct: int
    reused: int
    embedded: int
    seconds: float
    model_key: str


def embed_chunks(settings: Settings, customer: str, logical_date: date) -> EmbedResult:
    """Embed the distinct texts of a date that the ledger does not know yet.

    Raises:
        MissingStep: the chunks of the date were not made.
        ConfigError: the model's files are not there.
    """
    with outcome(settings, customer, "embed", logical_date) as noted:
        run = open_run(settings, customer, logical_date)
        embedding = run.installation.embedding
        key = model_key(model_folder(settings, embedding), embedding)
        texts, chunks = _texts(run)
        known = known_hashes(run.lake, key)
        missing = sorted(texts.keys() - known)
        started = time.monotonic()
        if missing:
            _embed(run, key, missing, texts)
        result = EmbedResult(
            customer=customer,
            logical_date=logical_date,
            chunks=chunks,
            distinct=len(texts),
            reused=len(texts) - len(missing),
            embedded=len(missing),
            seconds=round(time.monotonic() - started, 2),
            model_key=key,
        )
        noted.counts = result.model_dump(include={"chunks", "distinct", "reused", "embedded"})
        noted.outputs = {"model": embedding.model, "model_key": key}
        return result


def _texts(run: Run) -> tuple[dict[str, str], int]:
    texts: dict[str, str] = {}
    count = 0
    for chunks, _, role in CORPORA.values():
        if role in run.roles:
            rows = read(run.lake, need(run, chunks, "chunk"), ("content_hash", "text"))
            texts.update(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))
            count += rows.num_rows
    return texts, count


def known_hashes(lake: Lake, key: str) -> set[str]:
    """Return the content hashes for which the ledger has a vector of this model."""
    pin = resolve(lake, names.LEDGER)
    if pin is None or pin.rows == 0:
        return set()
    rows = read(lake, pin, ("content_hash", "model_key"))
    return set(rows.filter(pc.equal(rows.column("model_key"), key)).column("content_hash").to_pylist())


def _embed(run: Run, key: str, missing: list[str], texts: dict[str, str]) -> None:
    embedder = load_embedder(run.lake.settings, run.installation.embedding)
    began = time.monotonic()
    said = [began]

    for at in range(0, len(missing), PART):
        part = missing[at : at + PART]

        def tell(done: int, _: int, __: float, before: int = at) -> None:
            now, texts_done = time.monotonic(), before + done
            if now - said[0] > EVERY_SECONDS:
                said[0] = now
                rate = texts_done / (now - began)
                left = (len(missing) - texts_done) / rate
                log.info(
                    f"embedded {texts_done:,} of {len(missing):,} texts, {rate:,.0f} per second, {left:.0f} s to go"
                )

        vectors = embedder.encode([texts[one] for one in part], progress=tell)
        _append(run.lake, key, part, vectors)


def _append(lake: Lake, key: str, part: list[str], vectors: Vectors) -> None:
    """Append a part of the ledger; what another process added meanwhile is left out."""

    def rows() -> pa.Table | None:
        known = known_hashes(lake, key)
        keep = [at for at, one in enumerate(part) if one not in known]
        return _table(key, [part[at] for at in keep], vectors[keep]) if keep else None

    write_once(lake, names.LEDGER, rows, step_key=step_key("embed", model=key, hashes=part), mode="append")


def _table(key: str, hashes: list[str], vectors: Vectors) -> pa.Table:
    dimension = vectors.shape[1]
    offsets = pa.array(range(0, vectors.size + 1, dimension), pa.int32())
    columns = [
        pa.array(hashes, pa.string()),
        pa.repeat(pa.scalar(key), len(hashes)),
        pa.repeat(pa.scalar(dimension, pa.int32()), len(hashes)),
        pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32())),
    ]
    return pa.table(columns, schema=SCHEMA)


def ledger_rows(lake: Lake, key: str, hashes: list[str], snapshot: str = "main") -> pa.Table:
    """Return content_hash and embedding of these hashes, as far as the ledger has them."""
    pin = resolve(lake, names.LEDGER, snapshot)
    if pin is None:
        return SCHEMA.empty_table().select(["content_hash", "embedding"])
    rows = read(lake, pin, ("content_hash", "model_key", "embedding"))
    wanted = pc.and_(
        pc.equal(rows.column("model_key"), key), pc.is_in(rows.column("content_hash"), value_set=pa.array(hashes))
    )
    return rows.filter(wanted).select(["content_hash", "embedding"])
