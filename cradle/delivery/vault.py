"""The archive of a customer: objects that are written once and never changed or deleted.

A folder with read-only files, or the customer's archive bucket, whose object lock holds against everyone.
Layout: blobs/sha256/<hex>; <environment>/versions/<version>.json, each a signed statement
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

from cradle import names
from cradle.config import Settings
from cradle.errors import MissingStep
from cradle.points import point
from cradle.store import FOUND, MISSING, code, shared


class Vault(Protocol):
    """A write-once store of one customer."""

    def put(self, key: str, source: Path) -> bool:
        """Keep a file under a key; return whether this call did (False: the key is taken)."""
        ...

    def put_bytes(self, key: str, data: bytes) -> bool:
        """Keep bytes under a key; return whether this call did."""
        ...

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        ...

    def fetch(self, key: str, target: Path) -> None:
        """Bring an object to a path, whole or not at all."""
        ...

    def size(self, key: str) -> int | None:
        """Return an object's size, None when there is none."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return all keys with a prefix, sorted."""
        ...


class Folder:
    """Files in a folder; a name is taken by a hard link, which never replaces."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, source: Path) -> bool:
        """Keep a file under a key; return whether this call did."""
        return self._keep(key, lambda part: _copy(source, part))

    def put_bytes(self, key: str, data: bytes) -> bool:
        """Keep bytes under a key; return whether this call did."""
        return self._keep(key, lambda part: part.write_bytes(data))

    def _keep(self, key: str, write: Any) -> bool:
        target = self._root / key
        if target.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            write(part)
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.chmod(0o444)
            point("vault.before")
            os.link(part, target)
            point("vault.after")
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError as error:
            raise _missing(key, str(self._root)) from error

    def fetch(self, key: str, target: Path) -> None:
        """Bring an object to a path, whole or not at all."""
        source = self._root / key
        if not source.is_file():
            raise _missing(key, str(self._root))
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        _copy(source, part)
        part.chmod(0o644)
        part.replace(target)

    def size(self, key: str) -> int | None:
        """Return an object's size, None when there is none."""
        path = self._root / key
        return path.stat().st_size if path.is_file() else None

    def keys(self, prefix: str) -> list[str]:
        """Return all keys with a prefix, sorted."""
        folder = self._root / prefix
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(f"{prefix}{path.name}" for path in found if not path.name.startswith("."))


class Bucket:
    """The archive bucket; `If-None-Match: *` lets the first writer of a key win."""

    def __init__(self, store: Any, bucket: str) -> None:
        self._store, self._bucket = store, bucket

    def put(self, key: str, source: Path) -> bool:
        """Keep a file under a key; return whether this call did."""
        if self.size(key) is not None:
            return False
        with source.open("rb") as body:
            return self._put(key, body)

    def put_bytes(self, key: str, data: bytes) -> bool:
        """Keep bytes under a key; return whether this call did."""
        return self._put(key, data)

    def _put(self, key: str, body: Any) -> bool:
        try:
            self._store.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except ClientError as error:
            if code(error) in FOUND:
                return False
            raise
        return True

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        try:
            data: bytes = self._store.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code(error) in MISSING:
                raise _missing(key, self._bucket) from error
            raise
        return data

    def fetch(self, key: str, target: Path) -> None:
        """Bring an object to a path, whole or not at all."""
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        self._store.download_file(self._bucket, key, str(part))
        part.replace(target)

    def size(self, key: str) -> int | None:
        """Return an object's size, None when there is none."""
        try:
            return int(self._store.head_object(Bucket=self._bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if code(error) in MISSING:
                return None
            raise

    def keys(self, prefix: str) -> list[str]:
        """Return all keys with a prefix, sorted."""
        pages = self._store.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", ()))


def open_vault(settings: Settings, customer: str) -> Vault:
    """Return a customer's archive."""
    store = shared(settings, customer)
    if store is not None:
        return Bucket(store, names.bucket(customer, "archive"))
    return Folder(settings.home / "archive" / customer)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as write:
        while part := read.read(1 << 20):
            write.write(part)


def _missing(key: str, where: str) -> MissingStep:
    return MissingStep(
        f"{key} is not in the archive {where}. See what there is with `cradle releases list <customer>`."
    )
