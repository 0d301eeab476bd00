"""Files that arrive, and the originals that are kept of them.

Flow: inbox folder → files of a source → originals, content-addressed by SHA-256, never changed
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from cradle.catalog.deliveries import File, without_date
from cradle.config import Settings
from cradle.errors import FileChanging, InputError
from cradle.installation import Source
from cradle.points import point
from cradle.store import share_original

TRIES = 3  # a file that changes each time it is read is still being written
_BLOCK = 1 << 20


def original_path(settings: Settings, customer: str, sha256: str) -> Path:
    """Return where an original lies, whether it exists or not."""
    return settings.files(customer) / "originals" / sha256[:2] / sha256


def matching(inbox: Path, source: Source) -> list[str]:
    """Return the paths below the inbox that belong to a source, sorted; hidden and half-written files left out.

    A glob without a folder also matches in any folder.

    Raises:
        InputError: the name of such a file is not UTF-8.
    """
    found = []
    for path in inbox.rglob("*"):
        relative = path.relative_to(inbox).as_posix()
        if path.name.startswith(".") or path.name.endswith((".part", ".tmp", "~")) or not path.is_file():
            continue
        plain = without_date(relative)
        if any(fnmatchcase(plain, glob) or ("/" not in glob and fnmatchcase(path.name, glob)) for glob in source.files):
            found.append(_storable(relative))
    return sorted(found)


def _storable(relative: str) -> str:
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{relative.encode(errors='backslashreplace').decode()!r} in the inbox: the file's name is not UTF-8. "
            f"Rename it and run again."
        ) from error
    return relative


def keep(settings: Settings, customer: str, relative: str) -> File:
    """Copy one file of the inbox to the originals and return its identity.

    Raises:
        FileChanging: it changed each time it was read.
        InputError: it can't be read.
    """
    path = settings.inbox(customer) / relative
    for _ in range(TRIES):
        try:
            before = path.stat()
            with _copied(settings, customer, path) as (copy, sha256):
                after = path.stat()
                if (before.st_mtime_ns, before.st_size, before.st_ino) == (
                    after.st_mtime_ns,
                    after.st_size,
                    after.st_ino,
                ):
                    target = original_path(settings, customer, sha256)
                    _store(copy, target)
                    share_original(settings, customer, sha256, target)
                    return File(relative, sha256, after.st_size)
        except FileNotFoundError as error:
            raise FileChanging(
                f"{relative} vanished from the inbox while it was read. Run the same command again."
            ) from error
        except OSError as error:
            raise InputError(
                f"{relative} in the inbox of {customer} can't be read: {error.strerror}. Mend its rights and run again."
            ) from error
    raise FileChanging(
        f"{relative} in the inbox of {customer} changed {TRIES} times while it was read: it is still being written. "
        f"Deliver under another name and rename when complete, then run again."
    )


@contextlib.contextmanager
def _copied(settings: Settings, customer: str, path: Path) -> Iterator[tuple[Path, str]]:
    folder = settings.files(customer) / "originals"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".incoming-")
    copy = Path(name)
    try:
        digest = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as target, path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        yield copy, digest.hexdigest()
    finally:
        copy.unlink(missing_ok=True)


def _store(copy: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    copy.chmod(0o444)
    point("original.before")
    copy.replace(target)
    point("original.after")


def fill_inbox(settings: Settings, customer: str, folder: Path) -> int:
    """Copy a folder's files into the customer's inbox, whole or not at all; return how many were new or changed."""
    copied = 0
    for path in sorted(folder.rglob("*")):
        target = settings.inbox(customer) / path.relative_to(folder)
        if not path.is_file() or (target.exists() and target.read_bytes() == path.read_bytes()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".part")
        shutil.copyfile(path, temporary)
        temporary.replace(target)
        copied += 1
    return copied
