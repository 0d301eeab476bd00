"""Makes the delta between two images of a layout: one file from which the new image is rebuilt where the old one is.

The same two images always give the same file.
Flow: blobs that the new image needs and the old one lacks → blocks of those they replace + literals → one file
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict

from cradle.delivery.blocks import Blocks, Bytes
from cradle.delivery.layout import blobs_of, check_blob, index_entries
from cradle.delivery.package import COPY, FRAME, BlobPlan, Header, Operation, head
from cradle.errors import MissingStep
from cradle.oci import blob_path

LEVEL: Final = 9  # of zstd


class DeltaResult(BaseModel):
    """A delta: `bytes` is what is sent, `missing_bytes` the blobs that would be sent without it."""

    model_config = ConfigDict(frozen=True)

    old: str
    new: str
    path: Path
    sha256: str
    bytes: int
    missing_blobs: int
    missing_bytes: int
    copied_bytes: int
    literal_bytes: int


def make_delta(layout: Path, old: str, new: str, out: Path) -> DeltaResult:
    """Write the delta from one image of a layout to another.

    Args:
        old: digest of the image manifest that the customer has.
        new: digest of the image manifest that the customer is to have.

    Raises:
        MissingStep: the index does not name the new image.
        VerifyFailed: a blob of either image is missing or damaged.
    """
    entry = _entry_of(layout, new)
    have, need = blobs_of(layout, old), blobs_of(layout, new)
    for digest, size in {**have, **need}.items():
        check_blob(layout, digest, size)
    missing = {digest: size for digest, size in need.items() if digest not in have}
    replaced = [digest for digest in have if digest not in need]  # what stays is no source: it would cost its reading
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent) as spool:
        literals = _Packer(spool)
        blocks = Blocks([_bytes(layout, digest) for digest in replaced])
        plans = [
            BlobPlan(digest, size, tuple(_operations(_bytes(layout, digest), blocks, literals)))
            for digest, size in missing.items()
        ]
        literals.flush()
        header = _header(old, entry, replaced, plans, literals)
        sha256 = _write(out, header, spool)
    missing_bytes = sum(missing.values())
    return DeltaResult(
        old=old,
        new=new,
        path=out,
        sha256=sha256,
        bytes=out.stat().st_size,
        missing_blobs=len(missing),
        missing_bytes=missing_bytes,
        copied_bytes=missing_bytes - literals.count,
        literal_bytes=literals.count,
    )


def sign_delta(delta: Path, private_key: bytes) -> bytes:
    """Return the signature that `apply_delta` asks for: by an ed25519 key (32 bytes), over the file's SHA-256."""
    with delta.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").digest()
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(sha256)


def _entry_of(layout: Path, digest: str) -> dict[str, Any]:
    entries = [entry for entry in index_entries(layout) if entry["digest"] == digest]
    if not entries:
        raise MissingStep(f"the index of {layout} names no image {digest}. Run `cradle bake <customer>` to make it.")
    return entries[0]


def _bytes(layout: Path, digest: str) -> Bytes:
    path = blob_path(layout, digest)
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)


class _Packer:
    """Collects literals and packs them, one frame at a time."""

    def __init__(self, sink: IO[bytes]) -> None:
        self.sink, self.waiting = sink, bytearray()
        self.count, self.frames = 0, list[int]()

    def add(self, data: Bytes) -> Operation:
        """Take literals in and return the operation that gives them out."""
        operation = (self.count, len(data))
        self.count += len(data)
        for at in range(0, len(data), FRAME):
            self.waiting += data[at : at + FRAME].data
            while len(self.waiting) >= FRAME:
                self._pack()
        return operation

    def flush(self) -> None:
        """Pack what makes no whole frame."""
        if self.waiting:
            self._pack()

    def _pack(self) -> None:
        packed = pa.Codec("zstd", compression_level=LEVEL).compress(bytes(self.waiting[:FRAME]), asbytes=True)
        self.sink.write(packed)
        self.frames.append(len(packed))
        del self.waiting[:FRAME]


def _operations(data: Bytes, blocks: Blocks, literals: _Packer) -> Iterator[Operation]:
    done = 0
    for match in blocks.matches(data):
        if match.at > done:
            yield literals.add(data[done : match.at])
        yield (match.source, match.offset, match.length)
        done = match.at + match.length
    if done < len(data):
        yield literals.add(data[done:])


def _header(old: str, entry: dict[str, Any], sources: list[str], plans: list[BlobPlan], literals: _Packer) -> Header:
    """Return the header; it names only those blobs of the base from which something is copied."""
    used = sorted({one[0] for plan in plans for one in plan.operations if len(one) == COPY})
    number = {source: at for at, source in enumerate(used)}
    blobs = tuple(
        BlobPlan(
            plan.digest,
            plan.size,
            tuple((number[one[0]], *one[1:]) if len(one) == COPY else one for one in plan.operations),
        )
        for plan in plans
    )
    return Header(
        base=old,
        entry=entry,
        sources=tuple(sources[source] for source in used),
        blobs=blobs,
        literal_bytes=literals.count,
        frames=tuple(literals.frames),
    )


def _write(out: Path, header: Header, spool: IO[bytes]) -> str:
    """Write the file so that it is there whole or not at all; return its SHA-256."""
    temporary = out.with_name(f".{out.name}.part")
    spool.seek(0)
    with temporary.open("w+b") as sink:
        sink.write(head(header.dump()))
        shutil.copyfileobj(spool, sink, 1 << 20)
        sink.flush()
        os.fsync(sink.fileno())
        sink.seek(0)
        sha256 = hashlib.file_digest(sink, "sha256").hexdigest()
    temporary.replace(out)
    return sha256
