"""Iceberg behind few functions; the only place that knows PyIceberg."""

from cradle.catalog.commit import Written, drop_branch, point_ref, publish, rollback, summary_of, tag, write_once
from cradle.catalog.duck import connect_duckdb
from cradle.catalog.lake import Lake, asof_branch, open_lake
from cradle.catalog.pins import Pin, find_pin, properties, read, relation, relative_location, resolve, tables

__all__ = [
    "Lake",
    "Pin",
    "Written",
    "asof_branch",
    "connect_duckdb",
    "drop_branch",
    "find_pin",
    "open_lake",
    "point_ref",
    "properties",
    "publish",
    "read",
    "relation",
    "relative_location",
    "resolve",
    "rollback",
    "summary_of",
    "tables",
    "tag",
    "write_once",
]
