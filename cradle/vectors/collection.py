"""Chroma collections: built by one child process, verified by another, taken into use by a rename.

Chroma's embedded client is neither crash-safe nor safe for two processes, and writes when opened (DESIGN, section 7).
So a collection is made in a folder of its own and never changed; a reader opens a private copy. Where little differs it
is made of a copy of the last one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle.config import PROJECT, Settings, clean_environment
from cradle.errors import VerifyFailed
from cradle.log import get
from cradle.points import point
from cradle.vectors.digest import collection_digest, row_hashes

log = get("index")
COMMIT = "commit.json"
NAME = "chunks"
ROWS: Final = "rows.arrow"
CHANGES: Final = "changes.arrow"
KEPT: Final = "kept.arrow"  # id and hash of each row, by which the next collection is compared with this one
DELETED: Final = b"deleted"  # since the collection was built whole
# Of the rows. What is deleted stays in the graph: neighbours were found as before up to 0.7 (recall@10 0.999 of 5,000
# real vectors, a tenth replaced seven times), but the folder only grows.
MOST_DELETED: Final = 0.3
MOST_NEW: Final = 0.5  # of the rows: beyond it building whole is no slower
DONE: Final = {"build": "built", "change": "changed", "check": "verified"}


class Collection(BaseModel):
    """A verified collection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    count: int
    dimension: int
    model_key: str


def folder_of(settings: Settings, customer: str, digest: str) -> Path:
    """Return where a collection lies, whether it exists or not."""
    return settings.files(customer) / "collections" / digest


def committed(folder: Path) -> Collection | None:
    """Return what a folder's commit file says; None when the collection was never finished."""
    path = folder / COMMIT
    return Collection.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def build_collection(
    settings: Settings, customer: str, rows: pa.Table, model_key: str, before: str | None = None
) -> tuple[Collection, bool]:
    """Make and verify the collection of these rows, unless it exists; return it, and whether it was made now.

    With full refresh, one that exists is verified, and built again when it does not hold these rows.

    Args:
        rows: chunk_id, content_hash, text, embedding and the metadata of cradle.vectors.digest.
        before: digest of a verified collection, which is changed where little differs; none: built whole.

    Raises:
        VerifyFailed: what was built is not what was given.
    """
    hashes = row_hashes(rows)
    digest = collection_digest(rows, model_key, hashes)
    target = folder_of(settings, customer, digest)
    known = committed(target)
    if known and not (settings.full_refresh and _damaged(target, rows)):
        return known, False
    dimension = len(rows.column("embedding")[0]) if rows.num_rows else 0
    made = Collection(digest=digest, count=rows.num_rows, dimension=dimension, model_key=model_key)
    kept = pa.table({"chunk_id": rows.column("chunk_id"), "hash": hashes}).replace_schema_metadata({DELETED: b"0"})
    change = None
    if before and not settings.full_refresh and before != digest:
        change = _change(folder_of(settings, customer, before), made, kept)
    with _scratch(target.parent, "building") as (building, held):
        write_rows(building / ROWS, rows)
        if not (change and _changed(building, held, *change)):
            _built(building, held, kept)
        (building / ROWS).unlink()
        return made, _commit(building, target, made, instead=known is not None)


def _change(folder: Path, made: Collection, kept: pa.Table) -> tuple[Path, pa.Table, pa.Table] | None:
    """Return the collection before, what is to be changed in it, and what it then holds; None: build it whole."""
    known = committed(folder)
    if known is None or not (folder / KEPT).is_file():
        return None
    if (known.model_key, known.dimension) != (made.model_key, made.dimension):
        return None
    with pa.memory_map(str(folder / KEPT)) as source:
        old = pa.ipc.open_file(source).read_all().combine_chunks()
    place = pc.index_in(kept.column("chunk_id"), value_set=old.column("chunk_id").chunk(0))
    new = kept.filter(pc.is_null(place)).column("chunk_id")
    told = kept.filter(pc.fill_null(pc.not_equal(kept.column("hash"), old.column("hash").take(place)), False))
    still = pc.is_in(old.column("chunk_id"), value_set=kept.column("chunk_id").combine_chunks())
    gone = old.filter(pc.invert(still)).column("chunk_id")
    deleted = int(old.schema.metadata[DELETED]) + len(gone)
    if deleted > MOST_DELETED * made.count or len(new) > MOST_NEW * made.count:
        return None
    kinds = {"gone": gone, "told": told.column("chunk_id"), "new": new}
    parts = [pa.table({"chunk_id": ids, "change": pa.repeat(pa.scalar(kind), len(ids))}) for kind, ids in kinds.items()]
    return folder, pa.concat_tables(parts), kept.replace_schema_metadata({DELETED: str(deleted).encode()})


def _changed(building: Path, held: int, before: Path, changes: pa.Table, kept: pa.Table) -> bool:
    """Make a collection of the one before; False when it is not what was given, or doesn't find its neighbours."""
    shutil.copytree(before / "store", building / "store")
    write_rows(building / CHANGES, changes)
    try:
        _child("change", building, held)
        point("collection.changed")
        _check(building)
    except VerifyFailed as error:
        log.warning("the collection is built whole", because=str(error))
        shutil.rmtree(building / "store")
        return False
    finally:
        (building / CHANGES).unlink()
    write_rows(building / KEPT, kept)
    return True


def _built(building: Path, held: int, kept: pa.Table) -> None:
    (building / "store").mkdir()
    _child("build", building, held)
    point("collection.built")
    _check(building)
    write_rows(building / KEPT, kept)


def _check(building: Path) -> None:
    """Verify a private copy, in a fresh process."""
    with _scratch(building.parent, "reading") as (copy, held):
        shutil.copytree(building / "store", copy / "store")
        os.link(building / ROWS, copy / ROWS)
        _child("check", copy, held)
    point("collection.checked")


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write rows as an Arrow file."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def _damaged(folder: Path, rows: pa.Table) -> bool:
    """Tell whether a committed collection no longer holds the rows that its digest is of."""
    with _scratch(folder.parent, "reading") as (copy, held):
        shutil.copytree(folder / "store", copy / "store")
        write_rows(copy / ROWS, rows)
        try:
            _child("check", copy, held)
        except VerifyFailed:
            return True
    return False


def _commit(building: Path, target: Path, made: Collection, *, instead: bool) -> bool:
    """Make a verified folder durable and take it into use; False when another builder was faster."""
    _sync(building)
    with (building / COMMIT).open("w", encoding="utf-8") as stream:
        stream.write(made.model_dump_json())
        stream.flush()
        os.fsync(stream.fileno())
    point("collection.before")
    # Not made by us (a folder gets its name when it is whole), or damaged.
    if target.exists() and (instead or committed(target) is None):
        shutil.rmtree(target)
    try:
        building.rename(target)
    except OSError:
        if committed(target) is None:
            raise
        return False
    _sync(target.parent, deep=False)
    point("collection.after")
    return True


def _sync(folder: Path, *, deep: bool = True) -> None:
    for path in [*(folder.rglob("*") if deep else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def private_copy(folder: Path) -> Iterator[Path]:
    """Give a copy of a collection's folder for one reader; it is gone when the reader is done."""
    with _scratch(folder.parent, "reading") as (copy, _):
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        yield copy


@contextlib.contextmanager
def _scratch(parent: Path, kind: str) -> Iterator[tuple[Path, int]]:
    """Give an empty folder and the handle that keeps it; first remove what killed processes left."""
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder = parent / f".{kind}-{uuid.uuid4().hex}"
    lock = folder.with_suffix(".lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        folder.mkdir()
        try:
            yield folder, held.fileno()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _sweep(parent: Path) -> None:
    for lock in parent.glob(".*.lock"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), lock.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)


def _child(verb: Literal["build", "change", "check"], folder: Path, held: int) -> None:
    """Run the child; it holds the folder too, so that a child whose parent was killed keeps what it writes to."""
    done = subprocess.run(
        [sys.executable, "-m", "cradle.vectors.chroma", verb, str(folder)],
        cwd=PROJECT,
        env={**clean_environment("HOME"), "PYTHONPATH": str(PROJECT), "ANONYMIZED_TELEMETRY": "False"},
        capture_output=True,
        text=True,
        check=False,
        pass_fds=(held,),
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise VerifyFailed(f"collection could not be {DONE[verb]}: {last}. Run the same command again.")
