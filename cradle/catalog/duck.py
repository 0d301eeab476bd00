"""DuckDB connections that read Iceberg, with limits set and nothing fetched from a network."""

from __future__ import annotations

from pathlib import Path

import duckdb
from pyiceberg.table import Table

from cradle.catalog.lake import Lake
from cradle.catalog.pins import Pin, load, relation
from cradle.config import Settings

EXTENSIONS = ("avro", "httpfs", "iceberg")


def connect_duckdb(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that can `iceberg_scan`."""
    con = duckdb.connect(":memory:", config=dict(duckdb_config(settings)))
    set_up(con)
    return con


def duckdb_config(settings: Settings) -> dict[str, str]:
    """Return the options of every DuckDB of the factory."""
    spill = settings.home / "work" / "duckdb"
    spill.mkdir(parents=True, exist_ok=True)
    return {
        "threads": str(settings.threads),
        "memory_limit": f"{settings.memory_mb}MB",
        "temp_directory": str(spill),
        "home_directory": str(spill),  # else DuckDB asks for HOME, which a service may not have
        "extension_directory": str(settings.home / "work" / "duckdb-extensions"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }


def set_up(con: duckdb.DuckDBPyConnection) -> None:
    """Load the extensions from their packages and set the time zone, without which PyIceberg refuses timestamps."""
    from duckdb_extensions import import_extension

    folder = Path(con.execute("select current_setting('extension_directory')").fetchall()[0][0])
    for extension in EXTENSIONS:
        if not list(folder.rglob(f"{extension}.duckdb_extension")):
            import_extension(extension, con=con)
        con.load_extension(extension)
    con.execute("set TimeZone = 'UTC'")


def readable(con: duckdb.DuckDBPyConnection, lake: Lake, pin: Pin) -> str:
    """Give the connection fresh keys to a pinned table's files and return SQL text that may follow FROM."""
    grant(con, lake, pin.table)
    return relation(pin)


def grant(con: duckdb.DuckDBPyConnection, lake: Lake, table: str) -> None:
    """Give the connection the keys that the catalog hands out for one table; a local folder needs none."""
    if lake.settings.s3_endpoint is None:
        return
    loaded = load(lake, table)
    if loaded is not None and "s3.endpoint" in loaded.io.properties:
        con.execute(_secret(table, loaded))


def _secret(table: str, loaded: Table) -> str:
    """Return the statement that makes DuckDB use the table's keys below the table's location, and nowhere else."""
    have = loaded.io.properties
    endpoint = have["s3.endpoint"]
    options = {
        "key_id": have["s3.access-key-id"],
        "secret": have["s3.secret-access-key"],
        "session_token": have.get("s3.session-token", ""),
        "endpoint": endpoint.split("://", 1)[-1].rstrip("/"),
        "region": have.get("s3.region") or have.get("client.region") or "us-east-1",
        "url_style": "path",
        "scope": loaded.location().rstrip("/") + "/",
    }
    quoted = ", ".join(f"{name} '{value.replace(chr(39), chr(39) * 2)}'" for name, value in options.items() if value)
    tls = "true" if endpoint.startswith("https") else "false"
    return f'create or replace temporary secret "{table}" (type s3, {quoted}, use_ssl {tls})'
