"""Rows and files that could not be read, as rows of `ops.rejects`."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from cradle.catalog import Lake, distinct, ops, write_once
from cradle.catalog.deliveries import Original
from cradle.digest import step_key
from cradle.installation import Source
from dlt_pipelines.reading.answer import Reading

Read = tuple[Original, Source, Reading]


def write_rejects(lake: Lake, read_now: list[Read]) -> None:
    """Add the rejects of originals that were read now to `ops.rejects`, once for each original."""
    found = {one[0].step_key: one for one in read_now if any(one[2].reject_batches())}
    if not found:
        return

    def new_rows() -> pa.RecordBatchReader | None:
        fresh = found.keys() - distinct(lake, "ops.rejects", "step_key")
        batches = (batch for key in sorted(fresh) for batch in _rows(*found[key]))
        return pa.RecordBatchReader.from_batches(ops.REJECTS, batches) if fresh else None

    write_once(lake, "ops.rejects", new_rows, step_key=step_key("rejects", originals=sorted(found)), mode="append")


def _rows(original: Original, source: Source, reading: Reading) -> Iterator[pa.RecordBatch]:
    fixed = {
        "step_key": original.step_key,
        "stage": "ingest",
        "step": source.name,
        "file_sha256": original.file.sha256,
        "source_file": original.file.path,
    }
    return (ops.reject_rows(batch, fixed) for batch in reading.reject_batches())
