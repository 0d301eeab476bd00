"""Erasing a customer: everything at the servers and on this machine goes, a tombstone stays.

The YAML is left to its owner; a tombstone keeps it from coming back by accident.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cradle import names
from cradle.catalog.connect import connect
from cradle.config import Settings
from cradle.errors import ConfigError
from cradle.files import write_whole
from cradle.secrets import ANY, forget_secrets, has_secret
from cradle.services import s3
from cradle.services.polaris import Management
from cradle.services.roles import catalog_roles, principal
from cradle.store import code


def tombstone_path(settings: Settings, customer: str) -> Path:
    """Return where the tombstone of an erased customer stands."""
    return settings.home / "tombstones" / f"{customer}.json"


def erase(settings: Settings, customer: str, first: str, second: str) -> dict[str, int]:
    """Erase a customer for good; return what was counted. A repeated call goes on where the last one stopped.

    Args:
        first: the customer's name, typed.
        second: the words `erase <customer> for good`, typed.

    Raises:
        ConfigError: a confirmation is not the right one; nothing was touched.
    """
    asked = f"erase {customer} for good"
    if first != customer or second != asked:
        raise ConfigError(
            f"erasing {customer} needs two confirmations: {customer!r} and {asked!r}. Nothing was touched. Run "
            f"`cradle customers erase {customer} --confirm {customer} --confirm-again '{asked}'`."
        )
    _write_tombstone(settings, customer, {"state": "begun"})
    counts = {"tables": 0, "objects": 0, "files": 0, "principals": 0}
    if settings.catalog == "polaris":
        counts |= _catalog(settings, customer)
    if settings.s3_endpoint is not None:
        counts["objects"] = _buckets(settings, customer)
    for folder in _folders(settings, customer):
        counts["files"] += sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0
        shutil.rmtree(folder, ignore_errors=True)
    counts["secrets"] = forget_secrets(settings, customer)
    _write_tombstone(settings, customer, {"state": "erased", "counts": counts})
    return counts


def _folders(settings: Settings, customer: str) -> list[Path]:
    kinds = ("lake", "files", "inbox", "images", "outcomes", "alerts", "work")
    return [settings.home / kind / customer for kind in kinds]


def _catalog(settings: Settings, customer: str) -> dict[str, int]:
    polaris = Management(settings)
    counts = {"tables": 0, "principals": 0}
    if polaris.catalog(customer) is not None:
        if has_secret(settings, customer, ANY, "admin"):
            counts["tables"] = _drop_all(connect(settings, customer, "admin"), ())
        polaris.drop_catalog(customer)
    for role in catalog_roles():
        name = principal(customer, role)
        counts["principals"] += polaris.has_principal(name)
        polaris.drop_principal(name)
    return counts


def _drop_all(catalog: Any, namespace: tuple[str, ...]) -> int:
    dropped = 0
    for child in catalog.list_namespaces(namespace):
        dropped += _drop_all(catalog, child)
        for table in catalog.list_tables(child):
            catalog.drop_table(table)
            dropped += 1
        catalog.drop_namespace(child)
    return dropped


def _buckets(settings: Settings, customer: str) -> int:
    store, iam, objects = s3.operator(settings), s3.operator(settings, "iam"), 0
    for kind in names.BUCKETS:
        bucket = names.bucket(customer, kind)
        if s3.bucket_exists(store, bucket):
            objects += _empty(store, bucket)
            store.delete_bucket(Bucket=bucket)
    for name in s3.IDENTITIES | s3.STATIC:
        user = principal(customer, name)
        if s3.user_exists(iam, user):
            s3.end_other_keys(iam, user, keep=set())
            if s3.user_policy(iam, user):
                iam.delete_user_policy(UserName=user, PolicyName="cradle")
            iam.delete_user(UserName=user)
    return objects


def _empty(store: Any, bucket: str) -> int:
    """Delete every object in all its versions, those under governance retention too."""
    count = 0
    for page in store.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        for one in found:
            _delete(store, bucket, one["Key"], one.get("VersionId"))
        count += len(page.get("Versions", ()))
    return count


def _delete(store: Any, bucket: str, key: str, version: str | None) -> None:
    which = {"VersionId": version} if version and version != "null" else {}
    try:
        store.delete_object(Bucket=bucket, Key=key, BypassGovernanceRetention=True, **which)
    except ClientError as error:
        if code(error) != "NoSuchKey":
            raise


def _write_tombstone(settings: Settings, customer: str, content: dict[str, Any]) -> None:
    told = {"customer": customer, "at": datetime.now(UTC).isoformat(), **content}
    write_whole(tombstone_path(settings, customer), json.dumps(told))


def is_erased(settings: Settings, customer: str) -> bool:
    """Tell whether a customer was erased, or is being erased."""
    return tombstone_path(settings, customer).is_file()


def refuse_erased(settings: Settings, customer: str) -> None:
    """Refuse to make a customer again that was erased.

    Raises:
        ConfigError: there is a tombstone.
    """
    path = tombstone_path(settings, customer)
    if path.is_file():
        raise ConfigError(
            f"customer {customer} was erased; see {path}. To begin anew under this name, delete that file first."
        )
