"""Chroma collections: built by one child process, verified by another, taken into use by a rename.

Chroma's embedded client is neither crash-safe nor safe for two processes, and writes when opened (DESIGN, section 7).
So a collection is built in a folder of its own and never changed; a reader opens a private copy.
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
from pydantic import BaseModel, ConfigDict

from cradle.config import PROJECT, Settings, clean_environment
from cradle.errors import VerifyFailed
from cradle.points import point
from cradle.vectors.digest import collection_digest

COMMIT = "commit.json"
NAME = "chunks"
DONE: Final = {"build": "built", "check": "verified"}


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


def build_collection(settings: Settings, customer: str, rows: pa.Table, model_key: str) -> tuple[Collection, bool]:
    """Build and verify the collection of these rows, unless it exists; return it, and whether it was built now.

    With full refresh, one that exists is verified, and built again when it does not hold these rows.

    Args:
        rows: chunk_id, content_hash, text, embedding and the metadata of cradle.vectors.digest.

    Raises:
        VerifyFailed: what was built is not what was given.
    """
    digest = collection_digest(rows, model_key)
    target = folder_of(settings, customer, digest)
    known = committed(target)
    if known and not (settings.full_refresh and _damaged(target, rows)):
        return known, False
    dimension = len(rows.column("embedding")[0]) if rows.num_rows else 0
    made = Collection(digest=digest, count=rows.num_rows, dimension=dimension, model_key=model_key)
    with _scratch(target.parent, "building") as (building, held):
        (building / "store").mkdir()
        _write_rows(building, rows)
        _child("build", building, held)
        point("collection.built")
        with _scratch(target.parent, "reading") as (copy, held_copy):
            shutil.copytree(building, copy, dirs_exist_ok=True)
            _child("check", copy, held_copy)
        point("collection.checked")
        (building / "rows.arrow").unlink()
        return made, _commit(building, target, made, instead=known is not None)


def _write_rows(folder: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def _damaged(folder: Path, rows: pa.Table) -> bool:
    """Tell whether a committed collection no longer holds the rows that its digest is of."""
    with _scratch(folder.parent, "reading") as (copy, held):
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        _write_rows(copy, rows)
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


def _child(verb: Literal["build", "check"], folder: Path, held: int) -> None:
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
