"""The names everything else relies on: layers, fixed tables, lineage columns, verbs.

Code builds names from here and never parses them (DESIGN, section 10).
"""

from __future__ import annotations

import re
from typing import Final, Literal

Layer = Literal["raw", "staging", "marts", "vectors", "ops"]
Verb = Literal["ingest", "build", "chunk", "embed", "index", "release", "bake", "verify", "publish", "serve"]

LAYERS: Final[tuple[Layer, ...]] = ("raw", "staging", "marts", "vectors", "ops")
NIGHT: Final[tuple[Verb, ...]] = ("ingest", "build", "chunk", "embed", "index", "release", "bake", "verify")
BuildLayer = Literal["staging", "marts"]
# What one piece of a build makes: its layer, and what belongs to it.
BUILD_LAYERS: Final[dict[BuildLayer, tuple[Layer, ...]]] = {"staging": ("staging", "ops"), "marts": ("marts",)}
FLEET: Final = "_fleet"  # owner of what concerns all customers; none of them may have this name
ENVIRONMENTS: Final = ("dev_analytics", "staging_analytics", "prod_analytics")

# Lineage columns of every raw table; a staging model carries the first four on.
FILE_SHA256: Final = "_file_sha256"
SOURCE_FILE: Final = "_source_file"
SHEET: Final = "_sheet"
ROW_NUMBER: Final = "_row_number"
SOURCE: Final = "_source"
STEP_KEY: Final = "_step_key"
UNMAPPED: Final = "_unmapped"
LINEAGE: Final = (FILE_SHA256, SOURCE_FILE, SHEET, ROW_NUMBER)
RAW_TECHNICAL: Final = (*LINEAGE, SOURCE, STEP_KEY, UNMAPPED)

# Roles that a dbt model reads; any other role stays in raw.
SALES: Final = "sales"
PRODUCTS: Final = "products"
DOCUMENTS: Final = "documents"
MODELLED_ROLES: Final = (SALES, PRODUCTS, DOCUMENTS)

# The model that types a role's rows; documents have no columns to type.
STAGING_MODELS: Final = {SALES: "stg_sales", PRODUCTS: "stg_products"}

# What a release pins for each role: table → its key (none: the lineage columns).
RELEASE_TABLES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    SALES: {
        "marts.orders": (FILE_SHA256, SHEET, ROW_NUMBER),
        "marts.daily_revenue": ("order_date", "region", "product"),
    },
    PRODUCTS: {
        "marts.syndication_products": ("sku",),
        "marts.products_documents": ("document_id",),
        "marts.products_chunks": ("chunk_id",),
    },
    DOCUMENTS: {
        "marts.general_documents": ("document_id",),
        "marts.general_chunks": ("chunk_id",),
    },
}
LEDGER: Final = "vectors.embeddings"
COLLECTIONS: Final = "vectors.collections"

# Airflow pools and their slots: what only one task at a time may use, and what servers can bear.
POOLS: Final = {"gpu": 1, "bake": 1, "services": 8}

# A customer's container: ports above its base, and the user of every process in it.
API: Final = 2
DASHBOARDS: Final = 3
CONSOLE: Final = 4
IMAGE_USER: Final = "65532:65532"

_UMLAUTS: Final = {ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ß"): "ss"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def is_name(text: str) -> bool:
    """Tell whether `text` may name a customer, role, source or column: lower case letters, digits, underscore."""
    return _NAME.fullmatch(text) is not None


def slug(text: str) -> str:
    """Turn any text into a name that `is_name` accepts."""
    folded = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower().translate(_UMLAUTS)
    cleaned = re.sub(r"[^a-z0-9]+", "_", folded).strip("_")[:60]
    return cleaned if is_name(cleaned) else f"c_{cleaned}"[:63].rstrip("_")


Bucket = Literal["lake", "files", "inbox", "archive"]
BUCKETS: Final[tuple[Bucket, ...]] = ("lake", "files", "inbox", "archive")
BUCKET_LONGEST: Final = 63  # characters; S3's limit


def bucket(customer: str, kind: Bucket) -> str:
    """Build the name of one of a customer's buckets; S3 knows no underscore.

    Raises:
        ValueError: the name is no customer's, or too long for a bucket.
    """
    name = f"cradle-{customer.replace('_', '-')}-{kind}"
    if not is_name(customer) or len(name) > BUCKET_LONGEST:
        raise ValueError(
            f"{customer!r} can't name a bucket: lower case letters, digits and underscores are allowed, at most "
            f"{BUCKET_LONGEST - len('cradle--archive')} characters"
        )
    return name


def release_tables(roles: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the tables that a release of a customer with these roles pins, each with its key."""
    return {table: key for role in MODELLED_ROLES if role in roles for table, key in RELEASE_TABLES[role].items()}


def table(layer: Layer, name: str) -> str:
    """Build the name by which people, pins and manifests call a table: `layer.name`."""
    return f"{layer}.{name}"
