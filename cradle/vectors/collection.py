"""Chroma collections: built by one child process, verified by another, taken into use by a rename.

Chroma's embedded client is neither crash-safe nor safe for two processes, and writes when opened (DESIGN, section 7).
So a collection is built in a folder of its own and never changed; a reader opens a private copy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cradle.config import PROJECT, Settings, clean_environment
from cradle.errors import VerifyFailed
from cradle.points import point
from cradle.vectors.digest import collection_digest

COMMIT = "commit.json"
NAME = "chunks"


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

    Args:
        rows: chunk_id, content_hash, text, embedding and the metadata of cradle.vectors.digest.

    Raises:
        VerifyFailed: what was built is not what was given.
    """
    digest = collection_digest(rows, model_key)
    target = folder_of(settings, customer, digest)
    known = committed(target)
    if known:
        return known, False
    dimension = len(rows.column("embedding")[0]) if rows.num_rows else 0
    made = Collection(digest=digest, count=rows.num_rows, dimension=dimension, model_key=model_key)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.parent / f".building-{uuid.uuid4().hex}"
    try:
        (building / "store").mkdir(parents=True)
        with pa.OSFile(str(building / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        _child("build", building)
        point("collection.built")
        with private_copy(building) as copy:
            _child("check", copy)
        point("collection.checked")
        (building / "rows.arrow").unlink()
        _commit(building, target, made)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return made, True


def _commit(building: Path, target: Path, made: Collection) -> None:
    with (building / COMMIT).open("w", encoding="utf-8") as stream:
        stream.write(made.model_dump_json())
        stream.flush()
        os.fsync(stream.fileno())
    point("collection.before")
    if target.exists() and committed(target) is None:  # a half-made folder of a killed run
        shutil.rmtree(target)
    try:
        building.rename(target)
    except OSError:
        if committed(target) is None:
            raise
    point("collection.after")


class private_copy:
    """A copy of a collection's folder for one reader; gone when the reader is done."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._copy = Path(tempfile.mkdtemp(prefix=".reading-", dir=self._folder.parent))
        shutil.copytree(self._folder, self._copy, dirs_exist_ok=True)
        return self._copy

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)


def _child(verb: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cradle.vectors.chroma", verb, str(folder)],
        cwd=PROJECT,
        env={**clean_environment("HOME"), "PYTHONPATH": str(PROJECT), "ANONYMIZED_TELEMETRY": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise VerifyFailed(f"collection could not be {verb}ed: {last}. Run the same command again.")


def describe(folder: Path) -> str:
    """Return a collection's commit file as text."""
    return json.dumps(json.loads((folder / COMMIT).read_text(encoding="utf-8")), indent=2)
