"""The exactly-once protocol: every write to Iceberg passes here (DESIGN, section 6).

A write carries its step key in the snapshot summary. The key is looked for before the commit and after any
exception: found means done. PyIceberg's own silent retries are off, since two workers that both looked before
either committed would both append.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pyiceberg.exceptions import (
    CommitFailedException,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from cradle.catalog.lake import Lake
from cradle.catalog.pins import (
    COLUMNS,
    CONTENT_DIGEST,
    STEP_KEY,
    Pin,
    find_pin,
    load,
    pin_of,
    properties_of,
    read_batches,
    resolve,
    snapshot_with,
)
from cradle.catalog.refs import ATTEMPTS, MAIN, need, point_ref
from cradle.catalog.rows import Rows, arrow_digest, digest_of, store
from cradle.errors import CommitConflict, MissingStep
from cradle.points import point

KEYS_AGE = 300  # seconds; vended keys live for an hour
TABLE_PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "0",
    "write.parquet.compression-codec": "zstd",
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
}

Mode = Literal["replace", "append"]


@dataclass(frozen=True)
class Written:
    """Where the rows of a step stand, and whether this call wrote them."""

    pin: Pin
    written: bool


def write_once(
    lake: Lake,
    table: str,
    data: pa.Table | Callable[[], Rows | None],
    *,
    step_key: str,
    branch: str = MAIN,
    mode: Mode = "replace",
    summary: Mapping[str, str] | None = None,
) -> Written:
    """Write a step's rows in one commit, unless a snapshot with its key is there already.

    `replace` makes the branch hold these rows and no others, or points it at the snapshot found; `append` adds them.
    A function as `data` is called only when the key is not found, and again after a lost race, so that it can leave
    out what the winner wrote; it returns None when nothing is left, and then nothing is written. A reader is streamed.
    With full refresh, rows to `replace` are computed even so, and written when they differ from what stands.

    Raises:
        CommitConflict: other writers won every try.
    """
    again = mode == "replace" and lake.settings.full_refresh  # what is appended would be there twice
    compute = data if callable(data) else lambda: data
    for _ in range(ATTEMPTS):
        # What is looked at here is what the commit is based on: a writer in between makes the commit fail.
        base = load(lake, table)
        done = snapshot_with(base, step_key) if base else None
        began = time.monotonic()
        rows = None if done and not again else compute()
        if base and done and (rows is None or _same(lake, table, base, done, rows)):
            return _found(lake, table, base, done, branch if mode == "replace" else None)
        if done:
            rows = compute()  # the comparison has used them up
        if rows is None:
            return Written(_head(lake, table, branch), written=False)
        _renew_keys(lake, table, base, began)
        point(f"commit.{table}.looked")
        pin = _try(lake, table, base, rows, step_key, branch, mode, summary or {}, done)
        if pin is not None:
            return Written(pin, written=True)
    raise _lost(lake, table)


def _lost(lake: Lake, table: str) -> CommitConflict:
    return CommitConflict(
        f"{table} of customer {lake.customer}: other writers won {ATTEMPTS} times. "
        f"See what runs with `cradle status {lake.customer}`, then run the same command again."
    )


def _found(lake: Lake, table: str, base: Table, done: Snapshot, branch: str | None) -> Written:
    if branch is not None:
        point_ref(lake, table, branch, done.snapshot_id)
    return Written(pin_of(base, table, done), written=False)


def _same(lake: Lake, table: str, base: Table, done: Snapshot, rows: Rows) -> bool:
    """Tell whether these rows are what stands in a snapshot; what its summary says of them is not believed."""
    return _prepared(base, rows.schema) and digest_of(base, rows) == arrow_digest(
        read_batches(lake, pin_of(base, table, done))
    )


def _renew_keys(lake: Lake, table: str, base: Table | None, began: float) -> None:
    """Take fresh keys to the files when computing took long; what the commit is based on stays."""
    if base and time.monotonic() - began > KEYS_AGE:
        base.io = need(lake, table).io


def _head(lake: Lake, table: str, branch: str) -> Pin:
    head = resolve(lake, table, branch)
    if head is None:
        raise MissingStep(f"{table} of customer {lake.customer} has no branch {branch}, and nothing to write to it.")
    return head


def _try(
    lake: Lake,
    table: str,
    base: Table | None,
    rows: Rows,
    step_key: str,
    branch: str,
    mode: Mode,
    summary: Mapping[str, str],
    known: Snapshot | None,
) -> Pin | None:
    """Commit once on top of `base`; None after a lost race.

    An unclear failure counts as done when the key is there, on another snapshot than the known one.
    """
    try:
        if base is None or not _prepared(base, rows.schema):
            base = _prepare(lake, table, base, rows.schema)
            if base is None:
                return None
        _commit(base, rows, step_key, branch, mode, summary)
    except (CommitFailedException, TableAlreadyExistsError, ValidationException):
        return None
    except Exception:
        landed = find_pin(lake, table, step_key)
        if landed is None or (known and landed.snapshot_id == known.snapshot_id):
            raise
        return landed
    return find_pin(lake, table, step_key)


def _prepared(base: Table, schema: pa.Schema) -> bool:
    have = {field.name for field in base.schema().fields}
    return base.current_snapshot() is not None and set(schema.names) <= have


def _prepare(lake: Lake, table: str, base: Table | None, schema: pa.Schema) -> Table | None:
    """Make the table, its first snapshot (a branch can't be written to before there is one), or missing columns.

    Return what to commit on; None when another writer committed a step meanwhile: what it wrote was not looked at.
    """
    looked_at = _steps(base) if base else set()
    if base is None:
        base = lake.catalog.create_table(lake.identifier(table), schema=schema, properties=TABLE_PROPERTIES)
    if base.current_snapshot() is None:
        with base.transaction() as transaction, transaction.update_snapshot().fast_append():
            pass
    if not _prepared(base, schema):
        with base.update_schema() as update:
            update.union_by_name(schema)
    prepared = load(lake, table)
    return prepared if prepared and _steps(prepared) == looked_at else None


def _steps(base: Table) -> set[int]:
    return {one.snapshot_id for one in base.snapshots() if STEP_KEY in properties_of(one)}


def _commit(loaded: Table, rows: Rows, step_key: str, branch: str, mode: Mode, summary: Mapping[str, str]) -> None:
    properties = {STEP_KEY: step_key, COLUMNS: json.dumps(rows.schema.names), **summary}
    files, digest = store(loaded, rows, hashed=mode == "replace")
    if mode == "replace":
        properties[CONTENT_DIGEST] = digest
    name = ".".join(loaded.name()[-2:])
    with loaded.transaction() as transaction:
        update = transaction.update_snapshot(snapshot_properties=properties, branch=branch)
        with update.overwrite() if mode == "replace" else update.fast_append() as producer:
            head = loaded.snapshot_by_name(branch)
            if mode == "replace" and head:
                for task in loaded.scan(snapshot_id=head.snapshot_id).plan_files():
                    producer.delete_data_file(task.file)
            for file in files:
                producer.append_data_file(file)
        point(f"commit.{name}.before")
    point(f"commit.{name}.after")


def summary_of(**values: Any) -> dict[str, str]:
    """Turn names into the dotted form of snapshot properties: `rows_read` → `cradle.rows-read`."""
    return {f"cradle.{name.replace('_', '-')}": str(value) for name, value in values.items()}
