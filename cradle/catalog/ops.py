"""The fixed tables of the layer `ops`: what was delivered, rejected, accepted, released and baked."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cradle.catalog.commit import Written, write_once
from cradle.catalog.lake import Lake
from cradle.catalog.pins import read, resolve
from cradle.digest import step_key

_TEXT = pa.string()
_TIME = pa.timestamp("us", tz="UTC")

REJECTS = pa.schema(
    [
        pa.field("step_key", _TEXT),
        pa.field("stage", _TEXT),
        pa.field("step", _TEXT),
        pa.field("scope", _TEXT),
        pa.field("file_sha256", _TEXT),
        pa.field("source_file", _TEXT),
        pa.field("sheet", _TEXT),
        pa.field("row_number", pa.int64()),
        pa.field("column", _TEXT),
        pa.field("value", _TEXT),
        pa.field("reason", _TEXT),
        pa.field("message", _TEXT),
    ]
)
DELIVERIES = pa.schema(
    [
        pa.field("source", _TEXT),
        pa.field("logical_date", pa.date32()),
        pa.field("version", pa.int64()),
        pa.field("originals", _TEXT),
        pa.field("recorded_at", _TIME),
    ]
)
INSTALLATIONS = pa.schema(
    [
        pa.field("epoch", pa.int64()),
        pa.field("valid_from", pa.date32()),
        pa.field("params_hash", _TEXT),
        pa.field("installation", _TEXT),
        pa.field("statistics", _TEXT),
        pa.field("accepted_at", _TIME),
    ]
)
RELEASES = pa.schema(
    [
        pa.field("kind", _TEXT),
        pa.field("attempt", pa.int64()),
        pa.field("logical_date", pa.date32()),
        pa.field("sequence", pa.int64()),
        pa.field("release_id", _TEXT),
        pa.field("row", _TEXT),
        pa.field("created_at", _TIME),
    ]
)
IMAGES = pa.schema(
    [
        pa.field("release_id", _TEXT),
        pa.field("event", _TEXT),
        pa.field("digest", _TEXT),
        pa.field("bytes", pa.int64()),
        pa.field("layers", _TEXT),
        pa.field("happened_at", _TIME),
    ]
)

TABLES = {
    "ops.rejects": REJECTS,
    "ops.deliveries": DELIVERIES,
    "ops.installations": INSTALLATIONS,
    "ops.releases": RELEASES,
    "ops.images": IMAGES,
}


def reject_rows(found: pa.RecordBatch, fixed: dict[str, str]) -> pa.RecordBatch:
    """Bring rejects into the columns of `ops.rejects`; `fixed` are the values that all of them share."""
    columns = [
        pa.repeat(pa.scalar(fixed[field.name], field.type), found.num_rows)
        if field.name in fixed
        else found.column(field.name).cast(field.type)
        for field in REJECTS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTS)


def ensure(lake: Lake, table: str, schema: pa.Schema) -> None:
    """Make an empty `ops` table when it is not there."""
    append(lake, table, schema, [], step_key("begin", table=table))


def append(lake: Lake, table: str, schema: pa.Schema, rows: list[dict[str, Any]], key: str) -> Written:
    """Append a few rows to an `ops` table, once."""
    return write_once(lake, table, pa.Table.from_pylist(rows, schema=schema), step_key=key, mode="append")


def rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    """Return all rows of a small `ops` table; none when it was never made."""
    pin = resolve(lake, table)
    return read(lake, pin).to_pylist() if pin and pin.rows else []
