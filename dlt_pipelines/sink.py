"""The Iceberg sink: what dlt has normalised becomes one exactly-once commit per table.

dlt's own Iceberg writer is not used: a kill after its commit doubled the table on the re-run (DESIGN, section 6).
Flow: dlt load package → Parquet file per table → batches → cradle.catalog.write_once → raw.<role>
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cradle import names
from cradle.catalog import Lake, distinct, write_once
from cradle.digest import step_key
from cradle.errors import CradleError, of_a_server


def iceberg_sink(lake: Lake) -> Any:
    """Return a dlt destination that commits each table of a load package to `raw.<table>`, once.

    The memory of what is loaded is the table itself: rows whose step key stands in it are left out.
    """

    @dlt.destination(
        name="iceberg_lake",
        loader_file_format="parquet",
        batch_size=0,
        naming_convention="direct",
        max_table_nesting=0,
        skip_dlt_columns_and_tables=True,
        loader_parallelism_strategy="table-sequential",
    )
    def sink(path: str, table: Any) -> None:
        name = names.table("raw", table["name"])
        file = pq.ParquetFile(path)
        keyed = file.iter_batches(columns=[names.STEP_KEY])
        keys = sorted({key for batch in keyed for key in pc.unique(batch.column(0)).to_pylist()})

        def new_rows() -> pa.RecordBatchReader | None:
            fresh = set(keys) - distinct(lake, name, names.STEP_KEY)
            wanted = pa.array(sorted(fresh), pa.string())
            batches = _batches(file)
            if len(fresh) < len(keys):
                batches = (one.filter(pc.is_in(one.column(names.STEP_KEY), value_set=wanted)) for one in batches)
            return pa.RecordBatchReader.from_batches(file.schema_arrow, batches) if fresh else None

        write_once(lake, name, new_rows, step_key=step_key("load", originals=keys), mode="append")

    return sink()


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Read one row group after the other: over all at once, Arrow keeps the pages of those that were read."""
    for at in range(file.num_row_groups):
        yield from file.iter_batches(row_groups=[at])


def meant_by(error: Exception) -> BaseException:
    """Return what a step of dlt really failed with: dlt wraps it, several layers deep."""
    found: BaseException = error
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, CradleError) or of_a_server(below):
            return below
        found, below = below, below.__cause__ or below.__context__ or getattr(below, "exception", None)
    return found
