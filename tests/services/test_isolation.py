"""One customer's keys on another customer's data: refused, at the catalog and at the store, each with its control."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pyiceberg.exceptions import ForbiddenError

from cradle import names
from cradle.catalog.connect import connect
from cradle.catalog.rest import TransactionCatalog
from cradle.config import Settings
from cradle.secrets import ANY, read_secret, secret_path
from cradle.services import s3
from cradle.store import client
from tests.services.test_roles import ROWS, allowed

pytestmark = pytest.mark.services
FORBIDDEN = 403
NAMESPACE = ("dev_analytics", "marts")


def refused(call: Callable[[], Any]) -> bool:
    """Tell whether the store says no; only 403 counts."""
    try:
        call()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != FORBIDDEN:
            raise
        return True
    return False


def store_of(settings: Settings, customer: str, name: str) -> Any:
    return client(settings, "s3", read_secret(settings, customer, ANY, name))


def as_other(settings: Settings, login_of: str, catalog: str) -> Any:
    """Open one customer's catalog with another's login."""
    content = secret_path(settings, login_of, settings.environment, "pipeline").read_bytes()
    own = secret_path(settings, catalog, settings.environment, "pipeline")
    kept = own.read_bytes()
    own.write_bytes(content)
    try:
        return connect(settings, catalog, "pipeline")
    finally:
        own.write_bytes(kept)


@pytest.fixture(scope="module")
def tables(two: Settings) -> Settings:
    """Both customers have a table `secret` with a row, and an object in each bucket that takes one."""
    for customer in ("demo", "eaton"):
        connect(two, customer, "admin").create_table((*NAMESPACE, "secret"), schema=ROWS.schema).append(ROWS)
        for kind in names.BUCKETS:
            s3.operator(two).put_object(Bucket=names.bucket(customer, kind), Key="secret", Body=b"x")
    return two


def catalog_calls(catalog: Any, other: str) -> dict[str, Callable[[], Any]]:
    table, fresh = (*NAMESPACE, "secret"), (*NAMESPACE, f"t{uuid.uuid4().hex[:8]}")
    location = f"s3://{names.bucket(other, 'lake')}/lake/dev_analytics/marts/x"
    return {
        "list": lambda: catalog.list_tables(NAMESPACE),
        "list namespaces": lambda: catalog.list_namespaces(("dev_analytics",)),
        "read": lambda: catalog.load_table(table).scan().to_arrow(),
        "write": lambda: catalog.load_table(table).append(ROWS),
        "create": lambda: catalog.create_table(fresh, schema=ROWS.schema),
        "create elsewhere": lambda: catalog.create_table(fresh, schema=ROWS.schema, location=location),
        "delete": lambda: catalog.drop_table(table),
        "copy": lambda: catalog.rename_table(table, fresh),
        "register": lambda: catalog.register_table(fresh, f"{location}/metadata/v1.metadata.json"),
    }


def test_the_catalog_of_another_customer_refuses_everything(tables: Settings) -> None:
    stranger = as_other(tables, "demo", "eaton")
    for name, call in catalog_calls(stranger, "eaton").items():
        assert not allowed(call), name
    own = connect(tables, "demo")
    for name in ("list", "list namespaces", "read", "write", "create"):
        assert allowed(catalog_calls(own, "demo")[name]), name


def test_no_table_may_lie_in_another_customers_bucket(tables: Settings) -> None:
    for role in ("pipeline", "admin"):
        calls = catalog_calls(connect(tables, "demo", role), "eaton")  # type: ignore[arg-type]
        assert not allowed(calls["create elsewhere"])
        assert not allowed(calls["register"])


@pytest.mark.parametrize("kind", names.BUCKETS)
def test_the_store_refuses_the_buckets_of_another_customer(tables: Settings, kind: names.Bucket) -> None:
    mine, theirs = names.bucket("demo", "files"), names.bucket("eaton", kind)
    for name in ("files", "inbox"):
        store = store_of(tables, "demo", name)
        assert refused(lambda store=store: store.list_objects_v2(Bucket=theirs))
        assert refused(lambda store=store: store.get_object(Bucket=theirs, Key="secret"))
        assert refused(lambda store=store: store.put_object(Bucket=theirs, Key="new", Body=b"x"))
        assert refused(lambda store=store: store.delete_object(Bucket=theirs, Key="secret"))
        assert refused(lambda store=store: store.create_multipart_upload(Bucket=theirs, Key="new"))
        assert refused(lambda store=store: store.delete_bucket(Bucket=theirs))
    store = store_of(tables, "demo", "files")
    source, own = {"Bucket": theirs, "Key": "secret"}, {"Bucket": mine, "Key": "secret"}
    assert refused(lambda: store.copy_object(Bucket=mine, Key="stolen", CopySource=source))
    assert refused(lambda: store.copy_object(Bucket=theirs, Key="planted", CopySource=own))
    assert {one["Name"] for one in store.list_buckets()["Buckets"]}.isdisjoint({theirs})


def test_the_pipeline_may_do_its_work_in_its_own_buckets(tables: Settings) -> None:
    store, inbox = store_of(tables, "demo", "files"), names.bucket("demo", "inbox")
    files, archive = names.bucket("demo", "files"), names.bucket("demo", "archive")
    store.put_object(Bucket=files, Key="a", Body=b"x")
    store.copy_object(Bucket=files, Key="b", CopySource={"Bucket": files, "Key": "a"})
    assert {one["Key"] for one in store.list_objects_v2(Bucket=files)["Contents"]} >= {"a", "b"}
    store.delete_object(Bucket=files, Key="b")
    assert store.get_object(Bucket=inbox, Key="secret")["Body"].read() == b"x"
    assert refused(lambda: store.put_object(Bucket=inbox, Key="forged", Body=b"x"))
    assert refused(lambda: store.delete_object(Bucket=inbox, Key="secret"))
    store.put_object(Bucket=archive, Key="image", Body=b"x")
    assert refused(lambda: store.delete_object(Bucket=archive, Key="image"))
    assert refused(lambda: store.list_objects_v2(Bucket=names.bucket("demo", "lake")))


def test_the_customer_may_only_write_to_its_inbox(tables: Settings) -> None:
    store, inbox = store_of(tables, "demo", "inbox"), names.bucket("demo", "inbox")
    store.put_object(Bucket=inbox, Key="sales/march.csv", Body=b"x")
    assert refused(lambda: store.get_object(Bucket=inbox, Key="sales/march.csv"))
    assert refused(lambda: store.list_objects_v2(Bucket=inbox))
    assert refused(lambda: store.delete_object(Bucket=inbox, Key="sales/march.csv"))
    for kind in ("lake", "files", "archive"):
        assert refused(lambda kind=kind: store.put_object(Bucket=names.bucket("demo", kind), Key="x", Body=b"x"))


def test_vended_keys_open_one_table_and_no_more_than_the_role_may(tables: Settings) -> None:
    admin = connect(tables, "demo", "admin")
    admin.create_table((*NAMESPACE, "secret2"), schema=ROWS.schema).append(ROWS)
    bucket, prod = names.bucket("demo", "lake"), ("prod_analytics", "marts", "figures")
    admin.create_table(prod, schema=ROWS.schema).append(ROWS)

    def keys(table: Any) -> Any:
        held = table.io.properties
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=tables.s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id=held["s3.access-key-id"],
            aws_secret_access_key=held["s3.secret-access-key"],
            aws_session_token=held["s3.session-token"],
        )

    def path(table: Any) -> str:
        return str(table.location()).removeprefix(f"s3://{bucket}/")

    mine = connect(tables, "demo").load_table((*NAMESPACE, "secret"))
    other = admin.load_table((*NAMESPACE, "secret2"))
    store = keys(mine)
    store.put_object(Bucket=bucket, Key=f"{path(mine)}/data/x", Body=b"x")
    assert store.get_object(Bucket=bucket, Key=f"{path(mine)}/data/x")["Body"].read() == b"x"
    # `secret2` begins like `secret`: a prefix alone would let it in.
    metadata = other.metadata_location.removeprefix(f"s3://{bucket}/")
    assert refused(lambda: store.get_object(Bucket=bucket, Key=metadata))
    assert refused(lambda: store.put_object(Bucket=bucket, Key=f"{path(other)}/data/x", Body=b"x"))
    assert refused(lambda: store.list_objects_v2(Bucket=bucket))
    assert refused(lambda: store.get_object(Bucket=names.bucket("eaton", "lake"), Key="secret"))
    reading = connect(tables, "demo", "analyst").load_table(prod)
    assert reading.scan().to_arrow() == ROWS
    store = keys(reading)
    assert refused(lambda: store.put_object(Bucket=bucket, Key=f"{path(reading)}/data/x", Body=b"x"))
    assert refused(lambda: store.delete_object(Bucket=bucket, Key=f"{path(reading)}/data/x"))


def test_a_commit_over_two_tables_needs_the_right_to_both(tables: Settings) -> None:
    """The pipeline of dev may not slip a change of prod into a commit of its own table."""
    admin, dev = connect(tables, "demo", "admin"), connect(tables, "demo")
    prod = ("prod_analytics", "marts", "both")
    admin.create_table(prod, schema=ROWS.schema)
    assert isinstance(dev, TransactionCatalog)
    from pyiceberg.table.update import SetPropertiesUpdate

    own, foreign = dev.load_table((*NAMESPACE, "secret")), admin.load_table(prod)
    change = (SetPropertiesUpdate(updates={"touched": "yes"}),)
    dev.commit_tables([(own, (), change)])
    with pytest.raises(ForbiddenError):
        dev.commit_tables([(own, (), (SetPropertiesUpdate(updates={"touched": "twice"}),)), (foreign, (), change)])
    assert dev.load_table((*NAMESPACE, "secret")).properties["touched"] == "yes"
    assert "touched" not in admin.load_table(prod).properties


def test_rows_of_one_customer_never_reach_another(tables: Settings) -> None:
    assert connect(tables, "demo").list_tables(NAMESPACE)
    names_of = {one: {table[-1] for table in connect(tables, one).list_tables(NAMESPACE)} for one in ("demo", "eaton")}
    assert "secret2" in names_of["demo"]
    assert "secret2" not in names_of["eaton"]
