"""The customer's files on the S3 server: what arrives in the inbox bucket, and the originals that all workers share.

Flow: inbox bucket → inbox folder; originals folder ↔ files bucket, each object named by its SHA-256 and never changed
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cradle import names
from cradle.config import Settings
from cradle.errors import InputError, VerifyFailed
from cradle.secrets import ANY, has_secret, read_secret

FOUND = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")  # If-None-Match: it is there already
MISSING = ("NoSuchKey", "404", "NotFound")


def client(settings: Settings, service: str, keys: dict[str, str]) -> Any:
    """Return a boto3 client of the store with one identity's keys; addresses are by path, calls are retried."""
    # A session of its own: boto3's shared one must not make clients in several threads at once.
    return boto3.session.Session().client(
        service,
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        config=Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 6, "mode": "standard"},
            connect_timeout=10,
            read_timeout=60,
        ),
    )


def code(error: ClientError) -> str:
    """Return S3's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def shared(settings: Settings, customer: str) -> Any | None:
    """Return a client of the customer's files; None where a local folder is all there is."""
    if settings.s3_endpoint is None or not has_secret(settings, customer, ANY, "files"):
        return None
    return client(settings, "s3", read_secret(settings, customer, ANY, "files"))


def fetch_inbox(settings: Settings, customer: str) -> int:
    """Bring what is new or changed in the inbox bucket to the inbox folder; return how many files came.

    An object that is gone from the bucket stays in the folder: what a run may take is never taken away from it.

    Raises:
        InputError: an object's name would lead out of the inbox.
    """
    store = shared(settings, customer)
    if store is None:
        return 0
    came, bucket = 0, names.bucket(customer, "inbox")
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", ()):
            came += 0 if one["Key"].endswith("/") else _fetch(store, bucket, one, settings.inbox(customer))
    return came


def _fetch(store: Any, bucket: str, one: dict[str, Any], inbox: Path) -> bool:
    target = inbox / one["Key"]
    if not target.resolve().is_relative_to(inbox.resolve()):
        raise InputError(f"{one['Key']!r} in {bucket} would lead out of the inbox. Rename the object, then run again.")
    changed = one["LastModified"].timestamp()
    if target.is_file() and (target.stat().st_size, target.stat().st_mtime) == (one["Size"], changed):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.part")
    store.download_file(bucket, one["Key"], str(temporary))
    os.utime(temporary, (changed, changed))
    temporary.replace(target)
    return True


def share_original(settings: Settings, customer: str, sha256: str, path: Path) -> bool:
    """Put an original where all workers find it, once; return whether this call did."""
    store = shared(settings, customer)
    if store is None:
        return False
    where = {"Bucket": names.bucket(customer, "files"), "Key": _key(sha256)}
    try:
        if store.head_object(**where)["ContentLength"] == path.stat().st_size:
            return False
    except ClientError as error:
        if code(error) not in MISSING:
            raise
    try:
        with path.open("rb") as body:
            store.put_object(**where, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if code(error) in FOUND:
            return False
        raise
    return True


def fetch_original(settings: Settings, customer: str, sha256: str, path: Path) -> bool:
    """Bring an original that another worker kept to its place on this machine; return whether it came.

    Raises:
        VerifyFailed: what the store holds under this name is something else.
    """
    store = shared(settings, customer)
    if store is None or path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        store.download_file(names.bucket(customer, "files"), _key(sha256), str(temporary))
    except ClientError as error:
        if code(error) in MISSING:
            return False
        raise
    with temporary.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        temporary.unlink()
        raise VerifyFailed(
            f"original {sha256} of customer {customer} is damaged in the store: it hashes to {found}. Nothing was "
            f"loaded from it. Restore the object from the backup, then run the same command again."
        )
    temporary.chmod(0o444)
    temporary.replace(path)
    return True


def _key(sha256: str) -> str:
    return f"originals/{sha256[:2]}/{sha256}"
