"""The rows of originals, by way of dlt into `raw`. Only here and in the sink dlt is imported: most nights need it not.

Flow: originals → parsers → rows in the columns of their role → dlt, one package for all → cradle's Iceberg sink
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import dlt
import pyarrow as pa
from dlt.pipeline.exceptions import PipelineStepFailed

from cradle import names
from cradle.catalog.deliveries import Original
from cradle.catalog.run import Run
from cradle.installation import Source
from cradle.log import get
from cradle.points import point
from cradle.store import fetch_original
from dlt_pipelines.alone import leave_alone
from dlt_pipelines.inbox import original_path
from dlt_pipelines.loaded import Loaded
from dlt_pipelines.reading.airlock import Parsers
from dlt_pipelines.sink import iceberg_sink, meant_by

log = get("ingest")


def load(run: Run, missing: list[tuple[Original, Source]]) -> list[Loaded]:
    """Read originals in parallel children and hand their rows to dlt, one package for all of them."""
    settings, readings = run.lake.settings, list[Loaded]()
    leave_alone()

    def tables() -> Iterator[Loaded]:
        with Parsers(settings, settings.threads) as parsers, ThreadPoolExecutor(settings.threads) as pool:
            waiting = {pool.submit(_read, run, parsers, original, source): original for original, source in missing}
            for at, done in enumerate(as_completed(waiting), 1):
                readings.append(done.result())
                log.info(f"read {at} of {len(waiting)} files", file=readings[-1].original.file.path)
                yield readings[-1]

    @dlt.resource(name="originals")
    def originals() -> Iterator[Any]:
        for one in tables():
            for batch in one.reading.row_batches():
                yield dlt.mark.with_table_name(_raw_rows(run, one, batch), one.source.role)
            one.reading.forget_rows()

    folder = settings.work(run.customer.customer) / "dlt" / uuid.uuid4().hex
    try:
        point("load.before")
        pipeline = dlt.pipeline(
            "ingest", destination=iceberg_sink(run.lake), dataset_name="raw", pipelines_dir=str(folder), progress=None
        )
        pipeline.run(originals())
        point("load.after")
    except PipelineStepFailed as error:
        raise meant_by(error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return sorted(readings, key=lambda one: (one.source.name, one.original.position))


def _read(run: Run, parsers: Parsers, original: Original, source: Source) -> Loaded:
    settings = run.lake.settings
    path = original_path(settings, run.customer.customer, original.file.sha256)
    fetch_original(settings, run.customer.customer, original.file.sha256, path)
    return Loaded(original, source, parsers.read(path, source, source_file=original.file.path))


def _raw_rows(run: Run, one: Loaded, rows: pa.RecordBatch) -> pa.Table:
    """Bring an original's rows into the columns of its role: lineage first, then what any source of it delivers."""
    role = one.source.role
    lineage = {
        names.FILE_SHA256: one.original.file.sha256,
        names.SOURCE_FILE: one.original.file.path,
        names.SOURCE: one.source.name,
        names.STEP_KEY: one.original.step_key,
    }
    wanted = [*names.RAW_TECHNICAL, *_role_columns(run, role)]
    fields = [pa.field(name, pa.int64() if name == names.ROW_NUMBER else pa.string()) for name in wanted]
    columns = []
    for field in fields:
        if field.name in lineage:
            columns.append(pa.repeat(pa.scalar(lineage[field.name], pa.string()), rows.num_rows))
        elif field.name in rows.schema.names:
            columns.append(rows.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(rows.num_rows, field.type))
    return pa.table(columns, schema=pa.schema(fields))


def _role_columns(run: Run, role: str) -> list[str]:
    if role == names.DOCUMENTS:
        return ["title", "text", "media_type"]
    return [column.name for column in run.installation.columns(role)]
