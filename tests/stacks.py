"""The stacks over which the same behaviour is tested: embedded, s3 (PostgreSQL + versitygw), services.

`services` is SeaweedFS + Polaris + PostgreSQL, as a team runs it.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

import cradle.catalog.lake as lake_module
from cradle import names
from cradle.config import Settings
from cradle.secrets import ANY, OPERATOR, write_secret
from tests.servers import Polaris, Postgres, Server, Versity, Weed

PROVISIONING = threading.Lock()
BACKENDS = ("embedded", "s3", "services")


def missing(backend: str) -> str | None:
    """Say what is missing to run a backend; None when it can be run."""
    if backend == "embedded":
        return None
    if Postgres.binaries() is None:
        return "PostgreSQL is not installed (Debian's package postgresql)"
    if backend == "s3":
        return None if Versity.binary().is_file() else f"versitygw is not built at {Versity.binary()}"
    if Weed.binary() is None:
        return "no SeaweedFS: set WEED_BINARY to a weed binary"
    return None if Polaris.home() else "no Polaris: set POLARIS_HOME to a distribution with quarkus-run.jar"


@dataclass
class Stack:
    """Running servers, and the settings to use them. `embedded` has none."""

    backend: str
    folder: Path
    servers: dict[str, Server] = field(default_factory=dict)

    def start(self) -> None:
        """Start the servers in the order in which they need each other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, *self.folder.parents):  # PostgreSQL's user has to get through
            if os.geteuid() == 0 and folder.stat().st_uid == 0 and folder != folder.parent:
                folder.chmod(folder.stat().st_mode | 0o711)
        if self.backend == "embedded":
            return
        postgres = Postgres(self.folder / "postgres")
        self._add("postgres", postgres)
        postgres.create_database("cradle")
        if self.backend == "s3":
            self._add("s3", Versity(self.folder / "versity"))
            return
        postgres.create_database("polaris")
        weed = Weed(self.folder / "weed")
        self._add("s3", weed)
        self._add("polaris", Polaris(self.folder / "polaris", postgres=postgres, weed=weed))

    def _add(self, name: str, server: Server) -> None:
        self.servers[name] = server
        server.start()

    def stop(self) -> None:
        """End all servers; nobody needs their data any more."""
        for server in reversed(self.servers.values()):
            server.kill()

    def __getattr__(self, name: str) -> Any:
        if name in ("postgres", "s3", "polaris"):
            return self.servers[name]
        raise AttributeError(name)

    def settings(self, home: Path, customers: Path, **changes: Any) -> Settings:
        """Return settings over this stack, with a home and secrets of their own.

        On the servers nothing is shared between homes but the customers: use a new stack, or other customers.
        """
        if self.backend == "embedded":
            return Settings(home=home, customers=customers, **changes)
        common: dict[str, Any] = {
            "home": home,
            "customers": customers,
            "s3_endpoint": self.s3.endpoint,
            "database": f"postgresql://127.0.0.1:{self.postgres.port}/cradle",
        }
        if self.backend == "s3":
            found = Settings(**{**common, "catalog": "postgres", "credentials": "static", **changes})
        else:
            found = Settings(**{**common, "catalog": "polaris", "catalog_url": self.polaris.url, **changes})
            root = {"client_id": self.polaris.root[0], "client_secret": self.polaris.root[1]}
            write_secret(found, OPERATOR, ANY, "polaris", root)
        login = {"user": self.postgres.user, "password": self.postgres.password}
        write_secret(found, OPERATOR, ANY, "database", login)
        write_secret(found, OPERATOR, ANY, "s3", {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key})
        return found

    def provision(self, settings: Settings, customer: str) -> None:
        """Make what a customer needs at the servers."""
        if self.backend == "services":
            from cradle.services import provision

            provision(settings, customer)
        elif self.backend == "s3":
            # A store without an IAM API: buckets and one pair of keys, as an operator would hand them out.
            store = self.s3.client()
            for kind in names.BUCKETS:
                if names.bucket(customer, kind) not in {one["Name"] for one in store.list_buckets()["Buckets"]}:
                    store.create_bucket(Bucket=names.bucket(customer, kind))
            keys = {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key}
            for name in ("lake", "files", "inbox"):
                write_secret(settings, customer, ANY, name, keys)

    def provision_when_opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Make a customer at the servers when its lake is first opened; return the list of those opened."""
        opened: list[str] = []
        if self.backend == "embedded":
            return opened
        plain = lake_module.connect

        def connect(settings: Settings, customer: str, role: Any = "pipeline") -> Any:
            with PROVISIONING:
                if settings.catalog != "embedded" and customer not in opened:
                    opened.append(customer)
                    self.provision(settings, customer)
            return plain(settings, customer, role)

        monkeypatch.setattr(lake_module, "connect", connect)
        return opened

    def forget(self, settings: Settings, customer: str) -> None:
        """Take a customer away from the servers again."""
        if self.backend == "services":
            from cradle.services.erase import erase, tombstone_path

            erase(settings, customer, customer, f"erase {customer} for good")
            tombstone_path(settings, customer).unlink()
        elif self.backend == "s3":
            store = self.s3.client()
            for kind in names.BUCKETS:
                for page in store.get_paginator("list_objects_v2").paginate(Bucket=names.bucket(customer, kind)):
                    for one in page.get("Contents", ()):
                        store.delete_object(Bucket=names.bucket(customer, kind), Key=one["Key"])
            with psycopg.connect(self.postgres.uri("cradle")) as connection:
                for table in ("iceberg_tables", "iceberg_namespace_properties"):
                    connection.execute(f"delete from {table} where catalog_name = %s", (customer,))
