"""Turns the image that is there into the next one, by a delta. Killed at any point, the image that was there is whole.

It needs what the extra `serve` holds and nothing else, so that it runs at the customer's.
Flow: signature → header → blobs of the base re-hashed → each blob: temporary file, hash, fsync, rename → index
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cradle.delivery.layout import (
    blobs_of,
    check_blob,
    index_entries,
    index_with,
    is_sound,
    locked,
    ref_of,
)
from cradle.delivery.package import COPY, BlobPlan, Header, Literals, parse, take
from cradle.errors import Unavailable, VerifyFailed
from cradle.oci import blob_path, replace_file, sync_folder
from cradle.points import point

WORK: Final = ".applying"  # folder of the layout for files that are not blobs yet
PIECE: Final = 1 << 20


def apply_delta(
    delta: Path, layout: Path, *, public_key: bytes | None, signature: Path | None, expected: str | None = None
) -> str:
    """Make the delta's target from its base, both in this layout, and let the index name the target instead.

    The base's blobs stay; done again, nothing is written. A delta that was stopped goes on where it was.

    Args:
        public_key: the 32 bytes of an ed25519 key; None takes a delta that nobody signed.
        signature: a file of 64 bytes, the signature of the delta's SHA-256 (32 bytes).
        expected: digest of the only image that may come out.

    Returns:
        The digest of the target.

    Raises:
        VerifyFailed: the signature is not of this key, the delta is damaged, the layout does not hold the base
            undamaged, or what was rebuilt is not what was promised. The images that were there are untouched.
        Unavailable: there is no room for the target.
    """
    with locked(layout), delta.open("rb") as stream:
        unread = take(stream)
        _check_signature(delta, unread.sha256, public_key, signature)
        point("apply.signature.after")
        header = parse(unread)
        if expected not in (None, header.target):
            raise VerifyFailed(f"{delta.name} makes image {header.target} where {expected} is expected.")
        try:
            _clear(layout)
            if not _is_done(layout, header):
                _apply(layout, header, Literals(stream, unread.begin, header))
        finally:
            _clear(layout)
        point("apply.clear.after")
        return header.target


def _check_signature(delta: Path, sha256: bytes, public_key: bytes | None, signature: Path | None) -> None:
    if public_key is None and signature is None:
        return
    if public_key is None or signature is None:
        what = "a signature and no key to check it with" if public_key is None else "no signature"
        raise VerifyFailed(f"{delta.name} came with {what}: nothing was applied.")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature.read_bytes(), sha256)
    except (InvalidSignature, ValueError, OSError) as error:
        raise VerifyFailed(
            f"{signature.name} is no signature of {delta.name} (sha256 {sha256.hex()}) by the known key: nothing was "
            f"applied. Fetch both files again."
        ) from error


def _clear(layout: Path) -> None:
    shutil.rmtree(layout / WORK, ignore_errors=True)


def _is_done(layout: Path, header: Header) -> bool:
    if index_with(layout, header.entry, header.base) != (layout / "index.json").read_bytes():
        return False
    if not blob_path(layout, header.target).is_file():
        return False
    return all(is_sound(layout, digest, size) for digest, size in blobs_of(layout, header.target).items())


def _apply(layout: Path, header: Header, literals: Literals) -> None:
    base = _check_base(layout, header)
    point("apply.base.after")
    lacking = [blob for blob in header.blobs if not is_sound(layout, blob.digest, blob.size)]
    _check_room(layout, sum(blob.size for blob in lacking))
    (layout / WORK).mkdir()
    point("apply.work.after")
    with contextlib.ExitStack() as held:
        sources = [held.enter_context(blob_path(layout, digest).open("rb")) for digest in header.sources]
        for blob in lacking:
            _rebuild(layout, blob, sources, literals)
    sync_folder(blob_path(layout, header.target).parent)
    point("apply.blobs.after")
    _check_target(layout, header, {*base, *(blob.digest for blob in header.blobs)})
    point("apply.index.before")
    replace_file(layout / "index.json", index_with(layout, header.entry, header.base))
    point("apply.index.after")


def _check_base(layout: Path, header: Header) -> dict[str, int]:
    """Hash all blobs of the base and hold every operation against their sizes; nothing is written before."""
    if not blob_path(layout, header.base).is_file():
        known = ", ".join(f"{ref_of(one)} ({one['digest']})" for one in index_entries(layout)) or "no image"
        raise VerifyFailed(
            f"the delta begins at image {header.base}, which {layout} does not hold: blob {header.base} is missing. "
            f"It holds {known}. Ask for the delta from that image, or for the whole image."
        )
    base = blobs_of(layout, header.base)
    for digest, size in base.items():
        check_blob(layout, digest, size)
    foreign = [digest for digest in header.sources if digest not in base]
    if foreign:
        raise VerifyFailed(f"the delta copies from blob {foreign[0]}, which is not of its base {header.base}.")
    sizes = [base[digest] for digest in header.sources]
    for blob in header.blobs:
        for one in blob.operations:
            if len(one) == COPY and one[1] + one[2] > sizes[one[0]]:
                raise VerifyFailed(
                    f"operation {list(one)} of blob {blob.digest} reaches outside of {header.sources[one[0]]}, which "
                    f"has {sizes[one[0]]} bytes."
                )
    return base


def _check_room(layout: Path, needed: int) -> None:
    free = shutil.disk_usage(layout).free
    if needed > free:
        raise Unavailable(f"{layout} has {free} bytes free, and the delta's target needs {needed} more. Make room.")


def _rebuild(layout: Path, blob: BlobPlan, sources: Sequence[IO[bytes]], literals: Literals) -> None:
    """Write one blob; its bytes are hashed on their way, and only the promised ones get the name of a blob."""
    target = blob_path(layout, blob.digest)
    temporary = layout / WORK / target.name
    seen = hashlib.sha256()
    point("apply.write.before")
    with temporary.open("wb") as sink:
        for operation in blob.operations:
            copies = len(operation) == COPY
            for piece in _copied(sources[operation[0]], *operation[1:]) if copies else literals.read(*operation):
                seen.update(piece)
                sink.write(piece)
            point("apply.operation.after")
        if f"sha256:{seen.hexdigest()}" != blob.digest:
            raise VerifyFailed(
                f"blob {blob.digest} came out as sha256:{seen.hexdigest()}: the delta is not what it promises. "
                f"Nothing was changed; fetch it again."
            )
        sink.flush()
        os.fsync(sink.fileno())
    temporary.chmod(0o644)
    point("apply.blob.before")
    temporary.replace(target)
    point("apply.blob.after")


def _copied(source: IO[bytes], offset: int, length: int) -> Iterator[bytes]:
    source.seek(offset)
    while length:
        piece = source.read(min(PIECE, length))
        if not piece:
            raise VerifyFailed(f"{source.name} became shorter while it was read.")
        yield piece
        length -= len(piece)


def _check_target(layout: Path, header: Header, known: set[str]) -> None:
    """Refuse a target of which a blob is neither of the base nor rebuilt nor there."""
    for digest, size in blobs_of(layout, header.target).items():
        if digest not in known:
            check_blob(layout, digest, size)
        elif blob_path(layout, digest).stat().st_size != size:
            raise VerifyFailed(f"blob {digest} has another size than the image manifest {header.target} says.")
    if blob_path(layout, header.target).stat().st_size != header.entry["size"]:
        raise VerifyFailed(f"image manifest {header.target} has another size than the delta's entry of the index says.")
