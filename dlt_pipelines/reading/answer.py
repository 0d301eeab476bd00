"""What a parser answers: rows and rejects as Arrow batches, and a report, in the files of one folder.

Neither the child that writes them nor the process that reads them ever holds more than a batch.
"""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cradle.installation import Source
from dlt_pipelines.reading.parsed import REJECTS, Rejects, row_schema

BATCH_BYTES = 8 << 20  # of Arrow memory
ROWS, REJECTED, REPORT = "rows.arrow", "rejects.arrow", "report.json"
COUNTS = ("rows_read", "rows_accepted", "rows_rejected")


@dataclass(frozen=True)
class Reading:
    """What one original held. `rows_read = rows_accepted + rows_rejected`, header and blank lines not counted.

    Attributes:
        folder: where the batches lie; it is removed when nothing refers to the reading any more.
        notes: what a person should know, though nothing was rejected for it.
    """

    folder: Path
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def row_batches(self) -> Iterator[pa.RecordBatch]:
        """Give the source's columns as text, `_sheet`, `_row_number`, `_unmapped`, batch by batch."""
        return _batches(self.folder / ROWS)

    def reject_batches(self) -> Iterator[pa.RecordBatch]:
        """Give scope, sheet, row_number, column, value, reason, message of each reject, batch by batch."""
        return _batches(self.folder / REJECTED)

    def forget_rows(self) -> None:
        """Free the disk of what was taken over."""
        (self.folder / ROWS).unlink(missing_ok=True)

    @property
    def rows(self) -> pa.Table:
        """All rows at once; for what is known to be small."""
        return _whole(self.folder / ROWS)

    @property
    def rejects(self) -> pa.Table:
        """All rejects at once; for what is known to be small."""
        return _whole(self.folder / REJECTED)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as stream:
        reader = pa.ipc.open_file(stream)
        for at in range(reader.num_record_batches):
            batch = reader.get_batch(at)
            batch.validate(full=True)  # whoever parsed a hostile file may itself have become hostile
            yield batch


def _whole(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as stream:
        return pa.ipc.open_file(stream).read_all()


def read_answer(folder: Path) -> Reading:
    """Return what a parser has written to a folder.

    Raises:
        ValueError: its counts and its rows don't add up.
    """
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    read, accepted, rejected = (int(report[name]) for name in COUNTS)
    with pa.OSFile(str(folder / ROWS)) as stream:
        rows = pa.ipc.open_file(stream).count_rows()
    with pa.OSFile(str(folder / REJECTED)) as stream:
        pa.ipc.open_file(stream)
    if read != accepted + rejected or accepted != rows:
        raise ValueError(f"{read} read, {accepted} accepted, {rejected} rejected and {rows} rows don't add up")
    return Reading(folder, read, accepted, rejected, notes=tuple(report["notes"]))


def write_answer(
    folder: Path, source: Source, tables: Iterable[pa.Table], rejects: Rejects, notes: list[str], **more: object
) -> None:
    """Write the tables of a parser as they come; a file that is rejected as a whole gives no rows."""
    accepted = 0
    begun = iter(tables)
    first = next(begun, None)
    schema = first.schema if first is not None else row_schema(tuple(column.name for column in source.columns))
    with _file(folder / ROWS, schema) as rows, _file(folder / REJECTED, REJECTS) as rejected:
        while first is not None:
            for batch in _cut(first):
                rows.write_batch(batch)
            accepted += first.num_rows
            rejected.write_table(rejects.take())
            first = next(begun, None)
        rejected.write_table(rejects.take())
    bad = rejects.row_count
    if rejects.whole_file:
        accepted = bad = 0
        _file(folder / ROWS, schema).close()
    report = {**dict(zip(COUNTS, (accepted + bad, accepted, bad), strict=True)), "notes": notes, **more}
    (folder / REPORT).write_text(json.dumps(report), encoding="utf-8")


def _file(path: Path, schema: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
    return pa.ipc.new_file(str(path), schema)


def _cut(table: pa.Table) -> Iterator[pa.RecordBatch]:
    pieces = 1 + table.nbytes // BATCH_BYTES
    rows = max(1, -(-table.num_rows // pieces))
    for at in range(0, table.num_rows, rows):
        yield from table.slice(at, rows).combine_chunks().to_batches()
