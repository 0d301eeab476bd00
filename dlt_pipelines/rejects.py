"""Rows and files that could not be read, as rows of `ops.rejects`."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from cradle.catalog import Lake, distinct, ops, write_once
from cradle.digest import step_key
from dlt_pipelines.loaded import Loaded


def write_rejects(lake: Lake, read_now: list[Loaded]) -> None:
    """Add the rejects of originals that were read now to `ops.rejects`, once for each original."""
    found = {one.original.step_key: one for one in read_now if any(one.reading.reject_batches())}
    if not found:
        return

    def new_rows() -> pa.RecordBatchReader | None:
        fresh = found.keys() - distinct(lake, "ops.rejects", "step_key")
        batches = (batch for key in sorted(fresh) for batch in _rows(found[key]))
        return pa.RecordBatchReader.from_batches(ops.REJECTS, batches) if fresh else None

    write_once(lake, "ops.rejects", new_rows, step_key=step_key("rejects", originals=sorted(found)), mode="append")


def _rows(one: Loaded) -> Iterator[pa.RecordBatch]:
    fixed = {
        "step_key": one.original.step_key,
        "stage": "ingest",
        "step": one.source.name,
        "file_sha256": one.original.file.sha256,
        "source_file": one.original.file.path,
    }
    return (ops.reject_rows(batch, fixed) for batch in one.reading.reject_batches())
