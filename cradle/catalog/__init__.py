"""Iceberg behind few functions; the only place that knows PyIceberg."""

from cradle.catalog.commit import Written, summary_of, write_once
from cradle.catalog.duck import connect_duckdb, grant, readable
from cradle.catalog.lake import Lake, asof_branch, open_lake
from cradle.catalog.pins import (
    Pin,
    distinct,
    find_pin,
    properties,
    read,
    read_batches,
    relation,
    relative_location,
    resolve,
    tables,
)
from cradle.catalog.refs import drop_branch, point_ref, publish, register_again, rollback, tag

__all__ = [
    "Lake",
    "Pin",
    "Written",
    "asof_branch",
    "connect_duckdb",
    "distinct",
    "drop_branch",
    "find_pin",
    "grant",
    "open_lake",
    "point_ref",
    "properties",
    "publish",
    "read",
    "read_batches",
    "readable",
    "register_again",
    "relation",
    "relative_location",
    "resolve",
    "rollback",
    "summary_of",
    "tables",
    "tag",
    "write_once",
]
