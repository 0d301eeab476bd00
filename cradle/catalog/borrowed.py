"""Tables of one lake shown in another one: read where they are, written where the other lake is.

A scratch lake borrows the real tables in order to try out what a verb would do. What is committed to it stays in its
own folder: the real catalog is never told, and the real files are only read.
"""

from __future__ import annotations

import uuid

from pyiceberg.io import load_file_io
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table, TableProperties

from cradle import names
from cradle.catalog.connect import connect_to_look
from cradle.catalog.lake import Lake
from cradle.catalog.pins import load, tables
from cradle.config import Settings

KEYS = ("s3.", "client.")  # properties by which files are reached


def lake_to_look(settings: Settings, customer: str) -> Lake | None:
    """Open a customer's lake to read it, and make nothing; None: there is none yet."""
    catalog = connect_to_look(settings, customer)
    return Lake(settings, customer, settings.environment, catalog) if catalog else None


def borrow_tables(real: Lake, scratch: Lake) -> list[str]:
    """Register all tables of an environment, as they are now, in an empty embedded lake; return their names."""
    borrowed = []
    for layer in names.LAYERS:
        if real.catalog.namespace_exists((real.environment, layer)):
            for table in tables(real, layer):
                loaded = load(real, table)
                if loaded is not None:
                    _register(scratch, table, loaded)
                    borrowed.append(table)
    return borrowed


def renew_keys(real: Lake, scratch: Lake, borrowed: list[str]) -> None:
    """Give the scratch lake fresh keys to the files of the real tables: vended ones live for an hour."""
    for table in borrowed:
        loaded, mine = load(real, table), load(scratch, table)
        if loaded is not None and mine is not None and (keys := _keys(loaded)):
            with mine.transaction() as transaction:
                transaction.set_properties(keys)


def _register(scratch: Lake, table: str, loaded: Table) -> None:
    folder = scratch.settings.lake(scratch.customer) / "borrowed" / table
    elsewhere = {
        TableProperties.WRITE_DATA_PATH: f"file://{folder}/data",
        TableProperties.WRITE_METADATA_PATH: f"file://{folder}/metadata",
        TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "false",  # what it is based on belongs to the real lake
    }
    properties = {**loaded.metadata.properties, **elsewhere, **_keys(loaded)}
    metadata = loaded.metadata.model_copy(update={"properties": properties})
    location = f"file://{folder}/metadata/00000-{uuid.uuid4()}.metadata.json"
    ToOutputFile.table_metadata(metadata, load_file_io({}, location).new_output(location))
    scratch.catalog.register_table(scratch.identifier(table), location)


def _keys(loaded: Table) -> dict[str, str]:
    return {name: str(value) for name, value in loaded.io.properties.items() if name.startswith(KEYS)}
