"""Real servers for tests, each a process of ours on a free port, started and ended by its pid.

PostgreSQL comes from Debian, versitygw from the Go proxy. SeaweedFS and Polaris are in no package registry: their
paths come from `WEED_BINARY` and `POLARIS_HOME`, or from the cache folder.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import requests
from botocore.config import Config

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cradle" / "servers"
REGION = "us-east-1"
READY_SECONDS = 90
ROLE = "arn:aws:iam::000000000000:role/LakeVended"


def free_port(above: int = 0) -> int:
    """Return a port that nothing listens on; SeaweedFS' second one, 10,000 higher, is free as well."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        port = 20000 + port % 20000
        if all(_closed(one) for one in (port, port + 10000)):
            return port
    raise RuntimeError("no free port")


def _closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@dataclass
class Server:
    """One process; `start` returns when it does its job, not when its port is open."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return how it is started."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Tell whether it does its job."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Return what its process is started with beside its command."""
        return {}

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **self.options()
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{type(self).__name__} did not start: {tail}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return self.ready()
        except (OSError, psycopg.Error, requests.RequestException, ValueError):
            return False
        except Exception as error:
            if type(error).__module__.startswith("botocore"):
                return False
            raise

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)

    def kill(self) -> None:
        """End it as a power cut would end the process."""
        self.stop(signal.SIGKILL)


@dataclass
class Postgres(Server):
    """PostgreSQL of Debian, with a password and nobody trusted."""

    password: str = field(default_factory=lambda: secrets.token_hex(16))
    user = "cradle"

    @staticmethod
    def binaries() -> Path | None:
        """Return the folder of the server's programs, None when it is not installed."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        return found[-1].parent if found else None

    def _identity(self) -> dict[str, Any]:
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def options(self) -> dict[str, Any]:
        return self._identity()

    def command(self) -> list[str]:
        binaries, data = self.binaries(), self.folder / "data"
        assert binaries is not None
        if not data.is_dir():
            if os.geteuid() == 0:
                shutil.chown(self.folder, "postgres", "postgres")
            secret = self.folder / "password"
            secret.write_text(self.password)
            secret.chmod(0o644)
            init = [str(binaries / "initdb"), "-D", str(data), "-U", self.user, "--pwfile", str(secret)]
            init += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
            subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._identity())
        return [
            str(binaries / "postgres"),
            "-D",
            str(data),
            "-p",
            str(self.port),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.folder}",
            "-c",
            "max_connections=200",
        ]

    def uri(self, database: str = "postgres") -> str:
        """Return libpq's address, with the password."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def ready(self) -> bool:
        with psycopg.connect(self.uri(), connect_timeout=2) as connection:
            return connection.execute("select 1").fetchone() == (1,)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it at once; SIGTERM would wait until its clients have gone."""
        super().stop(how)

    def create_database(self, name: str) -> None:
        """Make a database unless it is there."""
        with psycopg.connect(self.uri(), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
                connection.execute(f'create database "{name}"')


@dataclass
class S3Server(Server):
    """What is common to S3 servers: an operator's pair of keys, and readiness by a real read of a known object."""

    access_key: str = "operator"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20))

    @property
    def endpoint(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str = "s3") -> Any:
        """Return a boto3 client of the operator."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5
            ),
        )

    def ready(self) -> bool:
        s3, bucket = self.client(), "readiness"
        if bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="probe", Body=b"ready")
        return bool(s3.get_object(Bucket=bucket, Key="probe")["Body"].read() == b"ready")


@dataclass
class Versity(S3Server):
    """versitygw over a folder: S3 without STS."""

    @staticmethod
    def binary() -> Path:
        """Return where its program is expected."""
        return CACHE / "bin" / "versitygw"

    def options(self) -> dict[str, Any]:
        return {"env": {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key, "PATH": "/usr/bin"}}

    def command(self) -> list[str]:
        for name in ("data", "versions"):
            (self.folder / name).mkdir(exist_ok=True)
        listen = f"127.0.0.1:{self.port}"
        return [
            str(self.binary()),
            "--port",
            listen,
            "--quiet",
            "posix",
            "--versioning-dir",
            str(self.folder / "versions"),
            str(self.folder / "data"),
        ]


@dataclass
class Weed(S3Server):
    """SeaweedFS in one process: master, volume, filer and S3 with its identities and STS."""

    polaris_keys: tuple[str, str] = field(default_factory=lambda: ("polaris", secrets.token_hex(20)))
    ports: dict[str, int] = field(default_factory=dict)
    generation: int = 0  # another one makes another signing key: every vended key ends

    @staticmethod
    def binary() -> Path | None:
        """Return its program, None when there is none."""
        path = Path(os.environ.get("WEED_BINARY") or CACHE / "bin" / "weed")
        return path if path.is_file() else None

    def command(self) -> list[str]:
        for name in ("master.port", "volume.port", "filer.port"):
            self.ports.setdefault(name, free_port())
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "iam.json").write_text(json.dumps(self._identities()))
        flags = {
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "dir": "data",
            "s3.port": self.port,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "volume.max": 0,
            "s3.iam.readOnly": "false",
            "s3.config": "iam.json",
            "s3.iam.config": "iam.json",
            "master.volumeSizeLimitMB": 128,
            **self.ports,
        }
        return [str(self.binary()), "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in flags.items())]

    def _identities(self) -> dict[str, Any]:
        def keys(access: str, secret: str) -> list[dict[str, str]]:
            return [{"accessKey": access, "secretKey": secret}]

        trust = {"AWS": "arn:aws:iam::000000000000:user/polaris"}
        lakes = ["arn:aws:s3:::cradle-*-lake", "arn:aws:s3:::cradle-*-lake/*"]
        everything = ["Admin", "Read", "List", "Tagging", "Write"]
        statement = {"Effect": "Allow", "Principal": trust, "Action": "sts:AssumeRole"}
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": lakes}]}
        return {
            "identities": [
                {"name": "operator", "credentials": keys(self.access_key, self.secret_key), "actions": everything},
                {"name": "polaris", "credentials": keys(*self.polaris_keys), "actions": []},
            ],
            "sts": {
                "tokenDuration": "1h",
                "maxSessionLength": "12h",
                "issuer": "seaweedfs-sts",
                "signingKey": base64.b64encode(f"{self.secret_key}{self.generation}".encode()).decode(),
            },
            "policy": {"defaultEffect": "Deny"},
            "roles": [
                {
                    "roleName": "LakeVended",
                    "roleArn": ROLE,
                    "attachedPolicies": ["LakeData"],
                    "trustPolicy": {"Version": "2012-10-17", "Statement": [statement]},
                }
            ],
            "policies": [{"name": "LakeData", "document": document}],
        }


@dataclass
class Polaris(Server):
    """Apache Polaris over PostgreSQL, with vending from SeaweedFS' STS."""

    postgres_port: int = 0
    jdbc_options: str = ""
    postgres: Postgres | None = None
    weed: Weed | None = None
    management_port: int = field(default_factory=free_port)
    root: tuple[str, str] = field(default_factory=lambda: ("root", secrets.token_hex(16)))
    signing_key: str = field(default_factory=lambda: secrets.token_hex(32))
    token_seconds: int = 3600

    @staticmethod
    def home() -> Path | None:
        """Return its distribution, None when there is none."""
        path = Path(os.environ.get("POLARIS_HOME") or CACHE / "polaris")
        return path if (path / "quarkus-run.jar").is_file() else None

    @property
    def url(self) -> str:
        """Address of the catalog API."""
        return f"http://127.0.0.1:{self.port}/api/catalog"

    def options(self) -> dict[str, Any]:
        assert self.postgres is not None
        assert self.weed is not None
        access, secret = self.weed.polaris_keys
        return {
            "env": {
                "PATH": os.environ["PATH"],
                "POLARIS_BOOTSTRAP_CREDENTIALS": f"POLARIS,{self.root[0]},{self.root[1]}",
                "QUARKUS_DATASOURCE_PASSWORD": self.postgres.password,
                "AWS_ACCESS_KEY_ID": access,
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_REGION": REGION,
                "POLARIS_AUTHENTICATION_TOKEN_BROKER_MAX_TOKEN_GENERATION": f"PT{self.token_seconds}S",
                "POLARIS_AUTHENTICATION_TOKEN_BROKER_TYPE": "symmetric-key",
                "POLARIS_AUTHENTICATION_TOKEN_BROKER_SYMMETRIC_KEY_SECRET": self.signing_key,
            }
        }

    def command(self) -> list[str]:
        assert self.postgres is not None
        home = self.home()
        assert home is not None
        template = Path(__file__).parent.parent / "docker" / "polaris" / "application.properties"
        (self.folder / "config").mkdir(exist_ok=True)
        shutil.copyfile(template, self.folder / "config" / "application.properties")
        database = f"jdbc:postgresql://127.0.0.1:{self.postgres_port or self.postgres.port}/polaris{self.jdbc_options}"
        values = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self.management_port,
            "quarkus.datasource.jdbc.url": database,
            "quarkus.datasource.username": self.postgres.user,
        }
        flags = [f"-D{name}={value}" for name, value in values.items()]
        return [java(), "-Xmx512m", *flags, "-jar", str(home / "quarkus-run.jar")]

    def ready(self) -> bool:
        data = {"grant_type": "client_credentials", "scope": "PRINCIPAL_ROLE:ALL"}
        data |= {"client_id": self.root[0], "client_secret": self.root[1]}
        return requests.post(f"{self.url}/v1/oauth/tokens", data=data, timeout=5).status_code == 200


def java() -> str:
    """Return a JVM of version 21 or newer, else just `java`."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    for home in homes:
        release = home / "release"
        if release.is_file() and (home / "bin" / "java").is_file() and _version(release) >= 21:
            return str(home / "bin" / "java")
    return "java"


def _version(release: Path) -> int:
    for line in release.read_text().splitlines():
        if line.startswith("JAVA_VERSION="):
            return int(line.split('"')[1].split(".")[0])
    return 0


Clean = Callable[[], None]
