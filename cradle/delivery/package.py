"""The file of a delta: what it says, how it is written, and what is refused before anything is done with it.

Form: magic, version, length and SHA-256 of the header; the header as canonical JSON; frames of zstd.
The bytes that no blob of the base holds, one after the other, are the literals; each frame holds `FRAME` of them, the
last one the rest. A blob is rebuilt by its operations in their order: `[source, offset, length]` copies from a blob of
the base, `[offset, length]` takes literals.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any, Final

import pyarrow as pa

from cradle.delivery.layout import is_digest
from cradle.errors import VerifyFailed
from cradle.oci import canonical

MAGIC: Final = b"cradle-delta"
VERSION: Final = 1
PREFIX: Final = struct.Struct(">12sIQ32s")
FRAME: Final = 4 << 20  # bytes of literals in a frame
HEADER_LIMIT: Final = 256 << 20  # bytes
ENTRY_KEYS: Final = {"mediaType", "digest", "size", "annotations", "platform"}
COPY: Final = 3  # numbers of an operation that copies; the other kind has two

Operation = tuple[int, ...]


@dataclass(frozen=True)
class BlobPlan:
    """A blob that the base lacks, and how it is rebuilt."""

    digest: str
    size: int
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Header:
    """What a delta promises: `entry` is the target's place in the index, `frames` the packed size of each frame."""

    base: str
    entry: dict[str, Any]
    sources: tuple[str, ...]
    blobs: tuple[BlobPlan, ...]
    literal_bytes: int
    frames: tuple[int, ...]

    @property
    def target(self) -> str:
        """Digest of the image manifest that comes out."""
        return str(self.entry["digest"])

    def dump(self) -> bytes:
        """Return the canonical JSON form."""
        blobs = [{"digest": one.digest, "size": one.size, "operations": one.operations} for one in self.blobs]
        return canonical(
            {
                "base": self.base,
                "entry": self.entry,
                "sources": self.sources,
                "blobs": blobs,
                "literal_bytes": self.literal_bytes,
                "frames": self.frames,
            }
        )


def head(header: bytes) -> bytes:
    """Return what stands before the frames."""
    return PREFIX.pack(MAGIC, VERSION, len(header), hashlib.sha256(header).digest()) + header


@dataclass(frozen=True)
class Unread:
    """A file whose bytes were hashed and not yet believed."""

    header: bytes
    begin: int
    size: int
    sha256: bytes


def take(stream: IO[bytes]) -> Unread:
    """Read a delta's header and hash the whole file, in one pass: what is used later is what was hashed.

    Raises:
        VerifyFailed: it is no delta, or cut short.
    """
    seen = hashlib.sha256()
    first = stream.read(PREFIX.size)
    if len(first) < PREFIX.size or not first.startswith(MAGIC):
        raise VerifyFailed("the file is no delta of images.")
    _, version, length, promised = PREFIX.unpack(first)
    if version != VERSION:
        raise VerifyFailed(f"the delta is of format {version}; this version of the product reads format {VERSION}.")
    if length > HEADER_LIMIT:
        raise VerifyFailed(f"the delta's header claims {length} bytes; at most {HEADER_LIMIT} are read.")
    header = stream.read(length)
    if len(header) != length or hashlib.sha256(header).digest() != promised:
        raise VerifyFailed("the delta is damaged: its header is not the one that was written.")
    seen.update(first + header)
    size = PREFIX.size + length
    while part := stream.read(1 << 20):
        seen.update(part)
        size += len(part)
    return Unread(header, PREFIX.size + length, size, seen.digest())


def parse(unread: Unread) -> Header:
    """Read and check a header; only what no base is needed for.

    Raises:
        VerifyFailed: a number is out of its range, or something is missing, doubled or not canonical.
    """
    try:
        content = json.loads(unread.header)
        header = Header(
            base=_digest(content["base"]),
            entry=_entry(content["entry"]),
            sources=tuple(_digest(one) for one in content["sources"]),
            blobs=tuple(_blob(one) for one in content["blobs"]),
            literal_bytes=_count(content["literal_bytes"]),
            frames=tuple(_count(one) for one in content["frames"]),
        )
        if header.dump() != unread.header:
            raise ValueError("it says more than a header, or not in the canonical form")
        _check_sums(header, unread.size - unread.begin)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VerifyFailed(f"the delta's header is refused: {error}") from error
    return header


def _digest(value: object) -> str:
    if not is_digest(value):
        raise ValueError(f"{value!r:.100} is no sha256 digest")
    return str(value)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.100} is no count")
    return value


def _entry(value: dict[str, Any]) -> dict[str, Any]:
    """Accept what the specification of the index allows and nothing else: it is written into the index as it stands."""
    _digest(value["digest"])
    _count(value["size"])
    texts = [value["mediaType"], *value.get("annotations", {}).values(), *value.get("platform", {}).values()]
    if not value.keys() <= ENTRY_KEYS or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"the index can't name an image as {value!r:.200}")
    return value


def _blob(value: dict[str, Any]) -> BlobPlan:
    digest, size = _digest(value["digest"]), _count(value["size"])
    operations = tuple(tuple(one) for one in value["operations"])
    total = 0
    for one in operations:
        if len(one) not in (COPY, COPY - 1) or not all(type(part) is int and part >= 0 for part in one) or not one[-1]:
            raise ValueError(f"{one!r:.100} is no operation of blob {digest}")
        total += one[-1]
    if total != size:
        raise ValueError(f"the operations of blob {digest} give {total} bytes where {size} are declared")
    return BlobPlan(digest, size, operations)


def _check_sums(header: Header, packed: int) -> None:
    digests = [blob.digest for blob in header.blobs]
    if len(set(digests)) != len(digests) or len(set(header.sources)) != len(header.sources):
        raise ValueError("a blob is named twice")
    if len(header.frames) != -(-header.literal_bytes // FRAME):
        raise ValueError(f"{len(header.frames)} frames can't hold {header.literal_bytes} bytes")
    if sum(header.frames) != packed:
        raise ValueError(f"frames of {sum(header.frames)} bytes are declared and {packed} are there")
    for blob in header.blobs:
        for one in blob.operations:
            if len(one) != COPY and one[0] + one[1] > header.literal_bytes:
                raise ValueError(f"{one} of blob {blob.digest} is outside of {header.literal_bytes} bytes of literals")
            if len(one) == COPY and one[0] >= len(header.sources):
                raise ValueError(f"{one} of blob {blob.digest} names none of {len(header.sources)} sources")


class Literals:
    """The literals of a delta, unpacked frame by frame: never more than one in memory, never more than declared."""

    def __init__(self, stream: IO[bytes], begin: int, header: Header) -> None:
        self.stream, self.header = stream, header
        self.places = [begin]
        for size in header.frames:
            self.places.append(self.places[-1] + size)
        self.spans = list(pairwise(self.places))
        self.held: tuple[int, memoryview] | None = None

    def read(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield the literals of a range, in pieces."""
        while length:
            number, inside = divmod(offset, FRAME)
            piece = self._frame(number)[inside : inside + length]
            yield piece
            offset, length = offset + len(piece), length - len(piece)

    def _frame(self, number: int) -> memoryview:
        if self.held is None or self.held[0] != number:
            begin, end = self.spans[number]
            self.stream.seek(begin)
            packed = self.stream.read(end - begin)
            size = min(FRAME, self.header.literal_bytes - number * FRAME)
            try:
                unpacked = pa.Codec("zstd").decompress(packed, decompressed_size=size)
            except (OSError, pa.ArrowException) as error:
                raise VerifyFailed(f"frame {number} of the delta is damaged: {error}") from error
            self.held = (number, memoryview(unpacked))
        return self.held[1]
