"""Pins: a table at one snapshot, and how it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from cradle.catalog.lake import Lake
from cradle.errors import MissingStep

STEP_KEY = "cradle.step-key"
CONTENT_DIGEST = "cradle.content-digest"
COLUMNS = "cradle.columns"


class Pin(BaseModel):
    """A table at one snapshot; `content_digest` is empty for append-only tables.

    `columns` are those of the step that wrote it: the table itself may keep columns of older steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    snapshot_id: int
    metadata_location: str
    rows: int
    columns: tuple[str, ...]
    content_digest: str
    step_key: str


def load(lake: Lake, table: str) -> Table | None:
    """Return the Iceberg table, or None when it was never made."""
    try:
        return lake.catalog.load_table(lake.identifier(table))
    except NoSuchTableError:
        return None


def tables(lake: Lake, layer: str) -> list[str]:
    """Return the names `layer.table` of a layer's tables, sorted."""
    return sorted(f"{layer}.{identifier[-1]}" for identifier in lake.catalog.list_tables((lake.environment, layer)))


def pin_of(loaded: Table, table: str, snapshot: Snapshot) -> Pin:
    """Describe one snapshot of a loaded table."""
    summary = properties_of(snapshot)
    return Pin(
        table=table,
        snapshot_id=snapshot.snapshot_id,
        metadata_location=loaded.metadata_location,
        rows=int(summary.get("total-records", "0")),
        columns=tuple(json.loads(summary.get(COLUMNS, "[]"))),
        content_digest=summary.get(CONTENT_DIGEST, ""),
        step_key=summary.get(STEP_KEY, ""),
    )


def properties_of(snapshot: Snapshot) -> dict[str, str]:
    """Return a snapshot's summary as plain text pairs."""
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def properties(lake: Lake, pin: Pin) -> dict[str, str]:
    """Return the summary of the pinned snapshot."""
    loaded = load(lake, pin.table)
    snapshot = loaded.snapshot_by_id(pin.snapshot_id) if loaded else None
    return properties_of(snapshot) if snapshot else {}


def history_of(lake: Lake, table: str) -> list[tuple[Pin, dict[str, str]]]:
    """Return every step that wrote a table, oldest first: its pin, and what its summary says."""
    loaded = load(lake, table)
    steps = [one for one in loaded.snapshots() if STEP_KEY in properties_of(one)] if loaded else []
    steps.sort(key=lambda one: one.sequence_number or 0)
    return [(pin_of(loaded, table, one), properties_of(one)) for one in steps] if loaded else []


def snapshot_with(loaded: Table, step_key: str) -> Snapshot | None:
    """Return the newest snapshot that carries this step key."""
    found = [snapshot for snapshot in loaded.snapshots() if properties_of(snapshot).get(STEP_KEY) == step_key]
    return max(found, key=lambda snapshot: snapshot.sequence_number or 0, default=None)


def find_pin(lake: Lake, table: str, step_key: str) -> Pin | None:
    """Return the pin of the snapshot that carries this step key, on whatever branch it stands."""
    loaded = load(lake, table)
    snapshot = snapshot_with(loaded, step_key) if loaded else None
    return pin_of(loaded, table, snapshot) if loaded and snapshot else None


def resolve(lake: Lake, table: str, ref: str = "main") -> Pin | None:
    """Return the pin that a branch, a tag or a snapshot id (as text) stands for; None when there is no such thing."""
    loaded = load(lake, table)
    if loaded is None:
        return None
    snapshot = loaded.snapshot_by_name(ref)
    if snapshot is None and ref.isdigit():
        snapshot = loaded.snapshot_by_id(int(ref))
    return pin_of(loaded, table, snapshot) if snapshot else None


def read(lake: Lake, pin: Pin, columns: tuple[str, ...] = ()) -> pa.Table:
    """Read a pinned table: the columns named, else all that its step wrote.

    Raises:
        MissingStep: the pinned snapshot is gone.
    """
    wanted = columns or pin.columns
    rows = _snapshot(lake, pin).scan(snapshot_id=pin.snapshot_id, selected_fields=wanted or ("*",)).to_arrow()
    return rows.select(wanted) if wanted else rows


def read_batches(lake: Lake, pin: Pin, columns: tuple[str, ...] = ()) -> pa.RecordBatchReader:
    """Read like `read`, piece by piece, so that the table need not fit into memory.

    Raises:
        MissingStep: the pinned snapshot is gone.
    """
    wanted = columns or pin.columns
    scan = _snapshot(lake, pin).scan(snapshot_id=pin.snapshot_id, selected_fields=wanted or ("*",))
    reader = scan.to_arrow_batch_reader()
    schema = pa.schema([reader.schema.field(name) for name in wanted or reader.schema.names])
    return pa.RecordBatchReader.from_batches(schema, (batch.select(schema.names) for batch in reader))


def distinct(lake: Lake, table: str, column: str) -> set[str]:
    """Return the different values of a text column, read piece by piece; none when the table was never made."""
    pin = resolve(lake, table)
    if pin is None or pin.rows == 0:
        return set()
    return {value for batch in read_batches(lake, pin, (column,)) for value in pc.unique(batch.column(0)).to_pylist()}


def _snapshot(lake: Lake, pin: Pin) -> Table:
    loaded = load(lake, pin.table)
    if loaded is None or loaded.snapshot_by_id(pin.snapshot_id) is None:
        raise MissingStep(
            f"{pin.table} of customer {lake.customer} has no snapshot {pin.snapshot_id}. "
            f"Run `cradle night {lake.customer}` to make it again."
        )
    return loaded


def relation(pin: Pin) -> str:
    """Return SQL text that may follow FROM on a connection of `connect_duckdb`."""
    location = pin.metadata_location.removeprefix("file://").replace("'", "''")
    columns = ", ".join(f'"{name}"' for name in pin.columns) or "*"
    return f"(select {columns} from iceberg_scan('{location}', snapshot_from_id => {pin.snapshot_id}::ubigint))"


def relative_location(lake: Lake, location: str) -> str:
    """Return a metadata location without the machine's path or the bucket: relative to the customer's lake."""
    if location.startswith("s3://"):
        return location.removeprefix("s3://").split("/", 1)[1]
    return Path(location.removeprefix("file://")).relative_to(lake.settings.lake(lake.customer)).as_posix()
