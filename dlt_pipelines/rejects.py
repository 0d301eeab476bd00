"""Rows and files that could not be read, as rows of `ops.rejects`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from cradle.catalog import Lake, ops, read, resolve, write_once
from cradle.catalog.deliveries import Original
from cradle.digest import step_key
from cradle.installation import Source
from dlt_pipelines.reading import Reading

Read = tuple[Original, Source, Reading]


def write_rejects(lake: Lake, read_now: list[Read]) -> None:
    """Add the rejects of originals that were read now to `ops.rejects`, once for each original."""
    parts = [_reject_rows(*one) for one in read_now if one[2].rejects.num_rows]
    if not parts:
        return
    rows = pa.concat_tables(parts)
    keys = sorted(pc.unique(rows.column("step_key")).to_pylist())

    def new_rows() -> pa.Table | None:
        pin = resolve(lake, "ops.rejects")
        have = set(pc.unique(read(lake, pin, ("step_key",)).column(0)).to_pylist()) if pin and pin.rows else set()
        fresh = pa.array([key for key in keys if key not in have], pa.string())
        return rows.filter(pc.is_in(rows.column("step_key"), value_set=fresh)) if len(fresh) else None

    write_once(lake, "ops.rejects", new_rows, step_key=step_key("rejects", originals=keys), mode="append")


def _reject_rows(original: Original, source: Source, reading: Reading) -> pa.Table:
    rejects = reading.rejects
    fixed = {
        "step_key": original.step_key,
        "stage": "ingest",
        "step": source.name,
        "file_sha256": original.file.sha256,
        "source_file": original.file.path,
    }
    columns = [
        pa.repeat(pa.scalar(fixed[field.name], pa.string()), rejects.num_rows)
        if field.name in fixed
        else rejects.column(field.name).cast(field.type)
        for field in ops.REJECTS
    ]
    return pa.table(columns, schema=ops.REJECTS)
