"""A customer's buckets and identities on the S3 server, through boto3.

| bucket | who |
|---|---|
| lake | nobody: keys are vended per table (with static credentials: the identity `<customer>.lake`) |
| files | the pipeline: originals, collections, blobs |
| inbox | the customer may only write, the pipeline may only read |
| archive | the pipeline may write and read; object lock keeps what is written |
"""

from __future__ import annotations

import json
from typing import Any, Final

from botocore.exceptions import ClientError

from cradle import names
from cradle.config import Settings
from cradle.secrets import ANY, OPERATOR, read_secret
from cradle.store import client, code

RETENTION_DAYS: Final = 30
_READ: Final = ("s3:GetObject", "s3:ListBucket")
_WRITE: Final = ("s3:PutObject",)
_ALL: Final = (*_READ, *_WRITE, "s3:DeleteObject")
IDENTITIES: Final[dict[str, dict[names.Bucket, tuple[str, ...]]]] = {
    "files": {"files": _ALL, "inbox": _READ, "archive": (*_READ, *_WRITE)},
    "inbox": {"inbox": _WRITE},
}
STATIC: Final[dict[str, dict[names.Bucket, tuple[str, ...]]]] = {"lake": {"lake": _ALL}}


def operator(settings: Settings, service: str = "s3") -> Any:
    """Return a client that may do everything."""
    return client(settings, service, read_secret(settings, OPERATOR, ANY, "s3"))


def bucket_exists(s3: Any, bucket: str) -> bool:
    """Tell whether a bucket is there."""
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if code(error) in ("404", "NoSuchBucket", "NotFound"):
            return False
        raise
    return True


def create_bucket(s3: Any, bucket: str, *, locked: bool) -> None:
    """Make a bucket; a locked one keeps each object for some days, whoever asks."""
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locked)
    if locked:
        retention = {"Mode": "GOVERNANCE", "Days": RETENTION_DAYS}
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=rule)


def policy(customer: str, rights: dict[names.Bucket, tuple[str, ...]]) -> dict[str, Any]:
    """Return the policy of an identity: these actions on these buckets, and nothing else."""
    statements = []
    for kind, actions in rights.items():
        arn = f"arn:aws:s3:::{names.bucket(customer, kind)}"
        statements.append({"Effect": "Allow", "Action": list(actions), "Resource": [arn, f"{arn}/*"]})
    return {"Version": "2012-10-17", "Statement": statements}


def identities(settings: Settings) -> dict[str, dict[names.Bucket, tuple[str, ...]]]:
    """Return the identities that a customer has under these settings."""
    return IDENTITIES | (STATIC if settings.credentials == "static" or settings.catalog == "postgres" else {})


def user_exists(iam: Any, user: str) -> bool:
    """Tell whether an identity is there."""
    try:
        iam.get_user(UserName=user)
    except ClientError as error:
        if code(error) in ("NoSuchEntity", "404"):
            return False
        raise
    return True


def user_policy(iam: Any, user: str) -> dict[str, Any]:
    """Return an identity's policy; empty when it has none."""
    try:
        found = iam.get_user_policy(UserName=user, PolicyName="cradle")["PolicyDocument"]
    except ClientError as error:
        if code(error) == "NoSuchEntity":
            return {}
        raise
    content: dict[str, Any] = json.loads(found) if isinstance(found, str) else found
    return content


def same_policy(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two policies allow the same, whatever their order."""
    return _rights(one) == _rights(other)


def _rights(content: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (action, resource.removesuffix("/*"))
        for statement in content.get("Statement", ())
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def new_keys(iam: Any, user: str) -> dict[str, str]:
    """Make another pair of keys for an identity; the ones before stay valid."""
    made = iam.create_access_key(UserName=user)["AccessKey"]
    return {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"]}


def end_other_keys(iam: Any, user: str, keep: set[str]) -> None:
    """Delete all pairs of keys of an identity but those named."""
    for one in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        if one["AccessKeyId"] not in keep:
            iam.delete_access_key(UserName=user, AccessKeyId=one["AccessKeyId"])
