"""How a customer's catalog is reached: the only place that knows which kind it is.

embedded: an SQLite file and a folder. postgres: PyIceberg's SqlCatalog on PostgreSQL, files on S3. polaris: Iceberg
REST with OAuth2; keys to the files are vended per table, or one static pair for stores without STS.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import quote

import psycopg
import sqlalchemy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

from cradle import names
from cradle.catalog.rest import S3_ENDPOINT, PatientAuth, TransactionCatalog
from cradle.config import Settings
from cradle.secrets import ANY, OPERATOR, has_secret, read_secret

Role = Literal["pipeline", "analyst", "engineer", "admin"]
READERS: tuple[Role, ...] = ("engineer", "analyst")
TOKEN_PATH = "/v1/oauth/tokens"


def connect(settings: Settings, customer: str, role: Role = "pipeline") -> Catalog:
    """Open the customer's catalog as one of its roles (embedded and postgres know no roles).

    Raises:
        ConfigError: a secret is missing.
    """
    if settings.catalog == "polaris":
        return _polaris(settings, customer, role)
    if settings.catalog == "postgres":
        return _postgres(settings, customer)
    return _embedded(settings, customer)


def connect_to_look(settings: Settings, customer: str) -> Catalog | None:
    """Open the customer's catalog to read it, and make nothing; None: it was never made."""
    if settings.catalog == "polaris":
        return _polaris(settings, customer, "engineer" if "engineer" in known_roles(settings, customer) else "pipeline")
    if settings.catalog == "postgres":
        found = SqlCatalog(customer, init_catalog_tables="false", **_postgres_properties(settings, customer))
        return found if sqlalchemy.inspect(found.engine).has_table("iceberg_tables") else None
    path = settings.lake(customer) / "catalog.db"
    if not path.is_file():
        return None
    return SqlCatalog(
        customer,
        uri=f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true&timeout=30",
        warehouse=f"file://{path.with_name('warehouse')}",
        init_catalog_tables="false",
    )


def secret_environment(role: Role, environment: str) -> str:
    """Return under which environment a role's secret lies: only the pipeline has one per environment."""
    return environment if role == "pipeline" else ANY


def known_roles(settings: Settings, customer: str) -> tuple[Role, ...]:
    """Return the roles whose secrets this process can read; without servers every role is the same."""
    roles: tuple[Role, ...] = ("pipeline", "analyst", "engineer", "admin")
    if settings.catalog != "polaris":
        return roles
    return tuple(
        role for role in roles if has_secret(settings, customer, secret_environment(role, settings.environment), role)
    )


def reading_role(settings: Settings, customer: str) -> Role:
    """Return the role to read with: the engineer or the analyst where its secret is, never more rights than needed."""
    known = known_roles(settings, customer)
    return next((role for role in READERS if role in known), "pipeline")


def _embedded(settings: Settings, customer: str) -> Catalog:
    folder = settings.lake(customer)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".opening").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # SQLite's tables can be created by one process only
        catalog = SqlCatalog(
            customer,
            uri=f"sqlite:///{folder / 'catalog.db'}?timeout=30",  # two writers wait for each other instead of failing
            warehouse=f"file://{folder / 'warehouse'}",
        )
        _ensure_namespaces(settings, catalog)
    return catalog


def _postgres(settings: Settings, customer: str) -> Catalog:
    with advisory_lock(settings, f"opening {customer}"):
        catalog = SqlCatalog(customer, **_postgres_properties(settings, customer))
        _ensure_namespaces(settings, catalog)
    return catalog


def _postgres_properties(settings: Settings, customer: str) -> dict[str, str]:
    return {
        "uri": database_uri(settings).replace("postgresql://", "postgresql+psycopg://", 1),
        "pool_pre_ping": "true",
        "warehouse": f"s3://{names.bucket(customer, 'lake')}",
        **s3_properties(settings, customer),
    }


def _polaris(settings: Settings, customer: str, role: Role) -> Catalog:
    assert settings.catalog_url is not None
    properties: dict[str, object] = {"uri": settings.catalog_url, "warehouse": customer}
    environment = secret_environment(role, settings.environment)
    if settings.credentials == "static":
        # PyIceberg reads this header's default once, at import; an empty one asks for no vended keys.
        properties |= {"header.X-Iceberg-Access-Delegation": "", **s3_properties(settings, customer)}
    if has_secret(settings, customer, environment, role) or settings.credentials == "vended":
        login = read_secret(settings, customer, environment, role)
        oauth2 = {
            "client_id": login["client_id"],
            "client_secret": login["client_secret"],
            "token_url": settings.catalog_url.rstrip("/") + TOKEN_PATH,
            "scope": "PRINCIPAL_ROLE:ALL",
        }
        impl = f"{PatientAuth.__module__}.{PatientAuth.__name__}"
        properties |= {"auth": {"type": "custom", "impl": impl, "custom": oauth2}}
    return TransactionCatalog(customer, **{**properties, S3_ENDPOINT: settings.s3_endpoint})  # type: ignore[arg-type]


def s3_properties(settings: Settings, customer: str) -> dict[str, str]:
    """Return PyIceberg's properties for a static pair of keys to the customer's lake."""
    keys = read_secret(settings, customer, ANY, "lake")
    return {
        "s3.endpoint": settings.s3_endpoint or "",
        "s3.region": settings.s3_region,
        "s3.access-key-id": keys["access_key"],
        "s3.secret-access-key": keys["secret_key"],
    }


def _ensure_namespaces(settings: Settings, catalog: Catalog) -> None:
    for namespace in namespaces(settings.environment):
        if not catalog.namespace_exists(namespace):
            catalog.create_namespace(namespace)


def namespaces(environment: str) -> list[tuple[str, ...]]:
    """Return an environment's namespaces, parents first."""
    return [(environment,), *((environment, layer) for layer in names.LAYERS)]


@contextmanager
def advisory_lock(settings: Settings, name: str, seconds: float = 60) -> Iterator[None]:
    """Hold a lock in PostgreSQL that workers on all machines share; it ends with the connection.

    Raises:
        psycopg.errors.LockNotAvailable: another worker did not let go in time.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with psycopg.connect(database_uri(settings), autocommit=True, connect_timeout=10) as connection:
        connection.execute(f"set lock_timeout = {int(seconds * 1000)}")
        connection.execute("select pg_advisory_lock(%s)", (key,))
        try:
            yield
        finally:
            if not connection.closed:
                connection.execute("select pg_advisory_unlock(%s)", (key,))


def database_uri(settings: Settings) -> str:
    """Return libpq's address of the database, with its login."""
    login = read_secret(settings, OPERATOR, ANY, "database")
    assert settings.database is not None
    return settings.database.replace("postgresql://", f"postgresql://{login['user']}:{login['password']}@", 1)
