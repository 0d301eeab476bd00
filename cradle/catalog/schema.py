"""Schema evolution without rewriting a file, and the drift between what is declared and what stands in the lake.

Source: Iceberg specification, schema evolution: columns are known by id, so a rename or a drop touches metadata only.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.exceptions import ValidationError
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestamptzType,
)

from cradle import names
from cradle.catalog import ops
from cradle.catalog.commit import TABLE_PROPERTIES
from cradle.catalog.lake import Lake
from cradle.catalog.pins import load, resolve, tables
from cradle.catalog.refs import need
from cradle.errors import ConfigError
from cradle.installation import Installation

TYPES: dict[str, IcebergType] = {
    "string": StringType(),
    "int": IntegerType(),
    "long": LongType(),
    "float": FloatType(),
    "double": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestamptzType(),
    "money": DecimalType(18, 4),
}
PROBE = "ops.doctor"  # what a preflight writes to
DOCUMENT_COLUMNS = ("title", "text", "media_type")


@dataclass(frozen=True)
class Change:
    """What to change of a table: columns to add (name → type), drop, rename (old → new) and widen (name → type)."""

    add: dict[str, str]
    drop: tuple[str, ...]
    rename: dict[str, str]
    widen: dict[str, str]


def evolve(lake: Lake, table: str, change: Change) -> list[str]:
    """Change a table's columns in one commit; return its columns afterwards. Data files stay as they are.

    Raises:
        ConfigError: an unknown column or type, or a change that would lose values.
        MissingStep: there is no such table.
    """
    loaded = need(lake, table)
    try:
        with loaded.update_schema() as update:
            for name, kind in change.add.items():
                update.add_column(name, _type(kind))
            for name in change.drop:
                update.delete_column(name)
            for old, new in change.rename.items():
                update.rename_column(old, new)
            for name, kind in change.widen.items():
                update.update_column(name, field_type=_type(kind))
    except (ValueError, ValidationError) as error:
        have = ", ".join(field.name for field in loaded.schema().fields)
        raise ConfigError(f"{table} can't be changed: {error}. It has: {have}.") from error
    return [f"{field.name} {field.field_type}" for field in need(lake, table).schema().fields]


def _type(name: str) -> IcebergType:
    if name not in TYPES:
        raise ConfigError(f"type {name!r} is unknown. Allowed: {', '.join(TYPES)}.")
    return TYPES[name]


@dataclass(frozen=True)
class Drift:
    """One difference between what is declared and what stands; nothing is changed because of it."""

    table: str
    what: str
    detail: str


def drift(lake: Lake, installation: Installation) -> list[Drift]:
    """Compare declared with live tables: those missing or unknown, their columns and their properties."""
    roles = {source.role for source in installation.sources}
    declared: dict[str, set[str] | None] = {
        names.table("raw", role): {*names.RAW_TECHNICAL, *_columns(installation, role)} for role in roles
    }
    declared |= {table: {field.name for field in schema} for table, schema in ops.TABLES.items()}
    declared |= dict.fromkeys(names.release_tables(roles))
    if any(table.endswith("_chunks") for table in declared):
        declared |= dict.fromkeys((names.LEDGER, names.COLLECTIONS))
    found = [Drift(table, "missing", "declared, and not in the catalog") for table in declared if not load(lake, table)]
    for layer in names.LAYERS:
        for table in tables(lake, layer):
            if table not in declared and layer != "staging" and table != PROBE:
                found.append(Drift(table, "unknown", "in the catalog, and not declared"))
            found += [] if table == PROBE else _differences(lake, table, declared.get(table))
    return sorted(found, key=lambda one: (one.table, one.what, one.detail))


def _columns(installation: Installation, role: str) -> list[str]:
    return list(DOCUMENT_COLUMNS) if role == names.DOCUMENTS else [one.name for one in installation.columns(role)]


def _differences(lake: Lake, table: str, declared: set[str] | None) -> list[Drift]:
    loaded, pin = need(lake, table), resolve(lake, table)
    live = {field.name for field in loaded.schema().fields}
    wanted = declared if declared is not None else set(pin.columns) if pin and pin.columns else live
    found = [Drift(table, "column missing", name) for name in sorted(wanted - live)]
    found += [Drift(table, "column not declared", name) for name in sorted(live - wanted)]
    for name, value in TABLE_PROPERTIES.items():
        have = str(loaded.metadata.format_version) if name == "format-version" else loaded.properties.get(name)
        if have != value:
            found.append(Drift(table, "property", f"{name} is {have}, declared {value}"))
    return found
