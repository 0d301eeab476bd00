"""The preflight: walks the hops to the servers one by one and names the first that fails.

Flow: settings → hops in the order in which a night needs them → checks; after the first failure nothing is tried
Run:  cradle doctor demo
"""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import requests

from cradle import names
from cradle.catalog.connect import Role, advisory_lock, database_uri
from cradle.catalog.lake import Lake, open_lake
from cradle.config import Settings
from cradle.secrets import ANY, OPERATOR, has_secret, read_secret
from cradle.services import s3
from cradle.services.polaris import token
from cradle.store import client

SECONDS = 10
SKEW = 60  # seconds; S3 refuses signatures that are 15 minutes off, tokens of an hour tolerate less
MULTIPART = 5 * 1024 * 1024 + 1  # bytes; a part but the last must have 5 MiB


@dataclass(frozen=True)
class Check:
    """One hop: whether it holds, what was seen, and, when it does not, the likely cause and what to run."""

    check: str
    ok: bool
    detail: str
    cause: str = ""
    run: str = ""

    def content(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


@dataclass(frozen=True)
class Hop:
    """What is tried; the cause and the command are told when it fails."""

    name: str
    test: Callable[[], str]
    cause: str
    run: str


def preflight(settings: Settings, customer: str | None) -> list[Check]:
    """Walk the hops to the servers of these settings; none when embedded.

    Args:
        customer: whose buckets and catalog are tried as well; None: the servers alone.
    """
    checks = []
    for hop in _hops(settings, customer):
        try:
            checks.append(Check(hop.name, True, hop.test()))
        except Exception as error:  # noqa: BLE001  (whatever a client library raises, a person has to read it)
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
            checks.append(Check(hop.name, False, detail[:600], hop.cause, hop.run))
            break
    return checks


def _hops(settings: Settings, customer: str | None) -> Iterator[Hop]:
    if settings.s3_endpoint is not None:
        yield from _store(settings, customer)
    if settings.database is not None:
        yield from _database(settings)
    if settings.catalog == "polaris":
        yield from _polaris(settings)
    if customer is not None and settings.catalog != "embedded":
        yield from _tables(settings, customer)


def _reach(name: str, url: str, container: str) -> Iterator[Hop]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def resolve() -> str:
        return f"{host} is {socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]}"

    def knock() -> str:
        socket.create_connection((host, port), timeout=SECONDS).close()
        return f"{host}:{port} accepts connections"

    yield Hop(f"{name}: DNS", resolve, "the name is wrong, or this machine is not in the stack's network", "make up")
    yield Hop(f"{name}: port", knock, f"{container} does not run, or another port is set", "make up")


def _store(settings: Settings, customer: str | None) -> Iterator[Hop]:
    assert settings.s3_endpoint is not None
    yield from _reach("S3", settings.s3_endpoint, "SeaweedFS")
    logs = "docker compose -f docker/compose.yaml logs seaweedfs"
    yield Hop("S3: clock", lambda: _clock(settings), "this machine's clock, or the server's, is wrong", "date -u")
    if has_secret(settings, OPERATOR, ANY, "s3"):
        yield Hop("S3: auth", lambda: _buckets(settings), "the operator's keys are not those of the server", logs)
    if customer is not None and has_secret(settings, customer, ANY, "files"):
        cause = "buckets or identities of the customer are missing, or a volume still loads after a restart"
        provision = f"cradle customers provision {customer}"
        yield Hop("S3: bucket", lambda: _objects(settings, customer), cause, provision)


def _clock(settings: Settings) -> str:
    assert settings.s3_endpoint is not None
    answer = requests.get(settings.s3_endpoint, timeout=SECONDS)
    if "Date" not in answer.headers:
        return "the server tells no time"
    seen = parsedate_to_datetime(answer.headers["Date"])
    skew = abs((datetime.now(UTC) - seen).total_seconds())
    if skew > SKEW:
        raise ValueError(f"the clocks differ by {skew:.0f} s, at most {SKEW} s are allowed")
    return f"the clocks differ by {skew:.0f} s"


def _buckets(settings: Settings) -> str:
    return f"{len(s3.operator(settings).list_buckets()['Buckets'])} buckets"


def _objects(settings: Settings, customer: str) -> str:
    """Write, read, list, write in parts and delete in the customer's files bucket, with the pipeline's keys."""
    store = client(settings, "s3", read_secret(settings, customer, ANY, "files"))
    bucket, key = names.bucket(customer, "files"), f".doctor/{uuid.uuid4().hex}"
    try:
        store.put_object(Bucket=bucket, Key=key, Body=b"cradle")
        if store.get_object(Bucket=bucket, Key=key)["Body"].read() != b"cradle":
            raise ValueError("what was read is not what was written")
        if not any(one["Key"] == key for one in store.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]):
            raise ValueError("what was written is not listed")
        _in_parts(store, bucket, key)
    finally:
        store.delete_object(Bucket=bucket, Key=key)
    return f"{bucket}: write, read, list, multipart, delete"


def _in_parts(store: Any, bucket: str, key: str) -> None:
    upload = store.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, body in enumerate((b"a" * MULTIPART, b"b"), 1):
        made = store.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    store.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    if store.head_object(Bucket=bucket, Key=key)["ContentLength"] != MULTIPART + 1:
        raise ValueError("an object written in parts has another size")


def _database(settings: Settings) -> Iterator[Hop]:
    assert settings.database is not None
    yield from _reach("PostgreSQL", settings.database, "PostgreSQL")
    logs = "docker compose -f docker/compose.yaml logs postgres"
    yield Hop("PostgreSQL: auth", lambda: _version(settings), "the password is not the server's, or it starts up", logs)
    yield Hop("PostgreSQL: lock", lambda: _lock(settings), "the server is overloaded", logs)


def _version(settings: Settings) -> str:
    with psycopg.connect(database_uri(settings), connect_timeout=SECONDS) as connection:
        return f"PostgreSQL {connection.info.server_version // 10000}"


def _lock(settings: Settings) -> str:
    with advisory_lock(settings, f"doctor {uuid.uuid4().hex}", SECONDS):
        return "an advisory lock can be had"


def _polaris(settings: Settings) -> Iterator[Hop]:
    assert settings.catalog_url is not None
    yield from _reach("Polaris", settings.catalog_url, "Polaris")
    logs = "docker compose -f docker/compose.yaml logs polaris"
    yield Hop("Polaris: health", lambda: _alive(settings), "it starts up, or its database does not answer", logs)
    if has_secret(settings, OPERATOR, ANY, "polaris"):
        yield Hop("Polaris: auth", lambda: _token(settings, OPERATOR, "polaris"), "the root secret is another", logs)


def _alive(settings: Settings) -> str:
    """Ask without a token: only a server that works refuses it properly."""
    assert settings.catalog_url is not None
    status = requests.get(settings.catalog_url.rstrip("/") + "/v1/config", timeout=SECONDS).status_code
    if status not in (200, 400, 401):
        raise ValueError(f"it answers {status} where 401 is right")
    return f"answers {status} to a call without a token"


def _token(settings: Settings, owner: str, name: str, environment: str = ANY) -> str:
    token(settings, read_secret(settings, owner, environment, name))
    return f"a token for {name}"


def _tables(settings: Settings, customer: str) -> Iterator[Hop]:
    provision = f"cradle customers provision {customer}"
    missing = "the customer is not provisioned in this environment, or its secrets are of another stack"
    role: Role = "pipeline"
    if settings.catalog == "polaris":
        role = "admin" if has_secret(settings, customer, ANY, "admin") else "pipeline"
        login = partial(_token, settings, customer, "pipeline", settings.environment)
        yield Hop("catalog: auth", login, missing, provision)
    may_drop = settings.catalog != "polaris" or role == "admin"
    probe = partial(_probe_as, settings, customer, role, may_drop)
    yield Hop("catalog: tables", probe, missing, provision)
    yield Hop("catalog: keys", lambda: _keys(settings), "", provision)


def _probe_as(settings: Settings, customer: str, role: Role, may_drop: bool) -> str:
    return _probe(open_lake(settings, customer, role), may_drop=may_drop)


def _probe(lake: Lake, *, may_drop: bool) -> str:
    """Create a table, commit a row, read it and drop the table again.

    Who may not drop commits to a table of a fixed name instead, which stays: the pipeline may never drop one.
    """
    name = f"doctor_{uuid.uuid4().hex[:12]}" if may_drop else "doctor"
    identifier = lake.identifier(f"ops.{name}")
    rows, clock = pa.table({"at": [time.time()]}), time.monotonic()
    made = lake.catalog.create_table_if_not_exists(identifier, schema=rows.schema)
    try:
        with warnings.catch_warnings(action="ignore"):  # an empty table has nothing to replace
            made.overwrite(rows)
        if lake.catalog.load_table(identifier).scan().to_arrow() != rows:
            raise ValueError("what was read is not what was committed")
    finally:
        if may_drop:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                lake.catalog.drop_table(identifier)
    keys = "vended keys" if "s3.session-token" in made.io.properties else "static keys"
    done = "create, commit, read, drop" if may_drop else "create, commit, read"
    return f"{done} with {keys} in {time.monotonic() - clock:.1f} s"


def _keys(settings: Settings) -> str:
    if settings.catalog == "polaris" and settings.credentials == "vended":
        return "vended: per table, for one hour, limited to what the role may do"
    return "static: one pair of keys for the whole lake of a customer"
