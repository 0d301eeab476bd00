"""Branches, tags and `main`: what points at a snapshot, and how it is moved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate

from cradle.catalog.lake import Lake
from cradle.catalog.pins import load
from cradle.catalog.rest import Change, TransactionCatalog
from cradle.errors import CommitConflict, MissingStep
from cradle.points import point

ATTEMPTS = 12  # conflicts are rare: one run per customer and environment writes at a time
MAIN = "main"


def need(lake: Lake, table: str) -> Table:
    """Return a table that an earlier step made.

    Raises:
        MissingStep: it is not there.
    """
    loaded = load(lake, table)
    if loaded is None:
        raise MissingStep(f"{table} of customer {lake.customer} is gone. Run `cradle night {lake.customer}`.")
    return loaded


def point_ref(lake: Lake, table: str, branch: str, snapshot_id: int) -> None:
    """Let a branch stand for a snapshot; nothing is written when it does already."""
    for _ in range(ATTEMPTS):
        loaded = need(lake, table)
        head = loaded.snapshot_by_name(branch)
        if head and head.snapshot_id == snapshot_id:
            return
        try:
            manage = loaded.manage_snapshots()
            if branch == MAIN:
                manage.set_current_snapshot(snapshot_id=snapshot_id).commit()
            else:
                manage.create_branch(snapshot_id=snapshot_id, branch_name=branch).commit()
        except CommitFailedException:
            continue
    raise CommitConflict(f"{table}: branch {branch} could not be moved to {snapshot_id}. Run the same command again.")


def publish(lake: Lake, refs: Mapping[str, int]) -> list[str]:
    """Move `main` of each table to its snapshot; return the tables that moved.

    On a REST catalog this is one commit over all tables: whoever reads the catalog sees all of them moved, or none.
    Elsewhere it is a loop, and the release row is the only atomic point.

    Raises:
        CommitConflict: other writers won every try.
    """
    if not isinstance(lake.catalog, TransactionCatalog):
        return [table for table, snapshot_id in sorted(refs.items()) if _publish_one(lake, table, snapshot_id)]
    for _ in range(ATTEMPTS):
        loaded = {table: need(lake, table) for table in sorted(refs)}
        moving = {table: one for table, one in loaded.items() if _head_id(one) != refs[table]}
        if not moving:
            return []
        changes = [_main_to(one, refs[table]) for table, one in moving.items()]
        try:
            point("publish.before")
            lake.catalog.commit_tables(changes)
            point("publish.after")
            return list(moving)
        except CommitFailedException:
            continue
        except CommitStateUnknownException:
            # Looked at again above: what landed has moved already, and what did not is sent with the same condition.
            time.sleep(1)
    raise CommitConflict(
        f"customer {lake.customer}: {', '.join(sorted(refs))} could not be published in {ATTEMPTS} tries. "
        f"Run `cradle doctor {lake.customer}`, then the same command again."
    )


def _publish_one(lake: Lake, table: str, snapshot_id: int) -> bool:
    if _head_id(need(lake, table)) == snapshot_id:
        return False
    point(f"publish.{table}.before")
    point_ref(lake, table, MAIN, snapshot_id)
    point(f"publish.{table}.after")
    return True


def _head_id(loaded: Table) -> int | None:
    head = loaded.current_snapshot()
    return head.snapshot_id if head else None


def _main_to(loaded: Table, snapshot_id: int) -> Change:
    update = SetSnapshotRefUpdate(
        **{"ref-name": MAIN, "type": SnapshotRefType.BRANCH, "snapshot-id": snapshot_id}  # type: ignore[arg-type]
    )
    unmoved = AssertRefSnapshotId(ref=MAIN, **{"snapshot-id": _head_id(loaded)})  # type: ignore[arg-type]
    return loaded, (AssertTableUUID(uuid=loaded.metadata.table_uuid), unmoved), (update,)


def rollback(lake: Lake, table: str, snapshot_id: int) -> None:
    """Move `main` of a table back (or forth) to one of its snapshots."""
    point_ref(lake, table, MAIN, snapshot_id)


def tag(lake: Lake, table: str, snapshot_id: int, name: str) -> None:
    """Name a snapshot for good, so that no expiry takes it; nothing is written when the tag is there."""
    for _ in range(ATTEMPTS):
        loaded = need(lake, table)
        if name in loaded.refs():
            return
        try:
            loaded.manage_snapshots().create_tag(snapshot_id=snapshot_id, tag_name=name).commit()
        except CommitFailedException:
            continue
    raise CommitConflict(f"{table}: tag {name} could not be set. Run the same command again.")


def drop_branch(lake: Lake, table: str, branch: str) -> None:
    """Forget a branch; its snapshots stay while a tag or `main` needs them."""
    loaded = load(lake, table)
    if loaded is not None and branch in loaded.refs():
        loaded.manage_snapshots().remove_branch(branch).commit()


def register_again(lake: Lake, table: str, metadata_location: str) -> None:
    """Let a table stand for a known metadata file again; no file is deleted.

    Source: Iceberg REST specification, `POST /v1/{prefix}/namespaces/{namespace}/register`.
    """
    identifier = lake.identifier(table)
    with contextlib.suppress(NoSuchTableError):
        lake.catalog.drop_table(identifier)
    lake.catalog.register_table(identifier, metadata_location)
