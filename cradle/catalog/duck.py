"""DuckDB connections that read Iceberg, with limits set and nothing fetched from a network."""

from __future__ import annotations

from pathlib import Path

import duckdb

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
