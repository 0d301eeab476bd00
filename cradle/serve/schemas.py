"""What the API answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Health(_Answer):
    """State of the service; the last two keys are those of the earlier API."""

    status: str = Field(examples=["healthy"])
    release: str = Field(examples=["3e51685b01db"])
    capabilities: dict[str, bool] = Field(examples=[{"tables": True, "search": True}])
    problem: str | None = Field(default=None, description="Why a capability is missing.")
    delta_tables: list[str] = Field(examples=[["orders", "daily_revenue"]])
    lance_datasets: list[str] = Field(examples=[["embeddings.lance"]])


class Ready(_Answer):
    """Readiness per capability."""

    ready: bool
    release: str = Field(examples=["3e51685b01db"])
    capabilities: dict[str, bool] = Field(examples=[{"tables": True, "search": True}])
    seconds: dict[str, float] = Field(description="From the start of the process to the first answer of each.")
    files: str = Field(description="`being checked`, `checked` or `damaged`.", examples=["checked"])
    publisher: str | None = Field(description="Fingerprint of the publisher whose signature was checked.")
    problem: str | None = Field(default=None, description="Why it is not ready, with the file's name.")


class Stats(_Answer):
    """Numbers of the release; the first three keys are those of the earlier API."""

    delta_tables: int = Field(examples=[7])
    lance_datasets: int = Field(examples=[1])
    total_size_mb: float = Field(examples=[170.74])
    customer: str = Field(examples=["demo"])
    release: str
    logical_date: str = Field(examples=["2024-04-01"])
    rows: dict[str, int] = Field(description="Rows of each table.")
    vectors: int = Field(examples=[293437])
    dimension: int | None = Field(examples=[384])
    model: str | None = Field(examples=["sentence-transformers/all-MiniLM-L6-v2"])


class ColumnInfo(_Answer):
    """A column."""

    name: str
    type: str
    description: str
    unit: str | None


class TableInfo(_Answer):
    """A table of the release."""

    name: str = Field(examples=["marts.orders"])
    rows: int
    key: list[str]
    columns: list[ColumnInfo]


class Tables(_Answer):
    """All tables of the release."""

    tables: list[TableInfo]


class Page(_Answer):
    """Some rows of a table. Decimals are JSON numbers with all their digits."""

    table: str = Field(examples=["marts.daily_revenue"])
    total: int = Field(description="Rows that fit the filters; without one, rows of the whole table.", examples=[865])
    limit: int
    offset: int
    rows: list[dict[str, Any]]


class HitInfo(_Answer):
    """A chunk that was found, and where it stands."""

    score: float = Field(
        description="`hybrid`: from 0 to 1, and 1 more for an article number that was asked for. `semantic`: cosine "
        "similarity. `lexical`: BM25.",
        examples=[0.71],
    )
    chunk_id: str
    corpus: str = Field(examples=["products"])
    document_id: str
    title: str | None
    heading: str | None
    text: str
    sku: str | None
    source_file: str | None


class Found(_Answer):
    """Answer to a search."""

    query: str
    mode: str = Field(
        description="How it was searched: `hybrid`, `semantic`, or `lexical` while meaning can't be had.",
        examples=["hybrid"],
    )
    hits: list[HitInfo]


class Names(_Answer):
    """Data sets under the names of the earlier API."""

    datasets: list[str] = Field(examples=[["embeddings.lance"]])


class LegacyTables(_Answer):
    """Tables under the names of the earlier API."""

    tables: list[str] = Field(examples=[["orders", "daily_revenue"]])


class Problem(BaseModel):
    """What went wrong, and what is allowed (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["table 'ordres' is unknown. Known: marts.daily_revenue, marts.orders."])
    errors: list[dict[str, Any]] | None = Field(
        default=None, description="Each value that is not allowed: `type`, `loc`, `msg`, `input`."
    )
    refused: str | None = Field(default=None, description="What in a statement was refused.")
    allowed: list[str] | None = Field(default=None, description="What may stand there instead.")


class Token(_Answer):
    """A token that stands for a key."""

    access_token: str = Field(description="Send it as `Authorization: Bearer <token>`.")
    token_type: str = Field(examples=["bearer"])
    expires_in: int = Field(description="Seconds.", examples=[900])
    role: str = Field(examples=["reader"])


class NewKey(_Answer):
    """The key that is wanted."""

    role: Literal["reader", "admin"] = Field(examples=["reader"])
    name: str = Field(default="", max_length=100, description="Whose it is.", examples=["web shop"])


class KeyInfo(_Answer):
    """A key, without the key itself."""

    id: str = Field(examples=["0f1e2d3c4b5a"])
    role: str = Field(examples=["reader"])
    name: str = Field(examples=["web shop"])
    created_at: str = Field(examples=["2024-04-02T01:00:00+00:00"])
    revoked_at: str | None = None


class MadeKey(KeyInfo):
    """A new key; only its hash is kept."""

    key: str = Field(description="Shown this once.")


class Keys(_Answer):
    """All keys."""

    keys: list[KeyInfo]


class SqlQuery(_Answer):
    """A query."""

    sql: str = Field(
        min_length=1, max_length=20_000, examples=["select region, sum(amount) as revenue from orders group by all"]
    )
    limit: int = Field(default=1_000, ge=0, description="Rows of the answer, at most 10,000.", examples=[1000])


class SqlColumn(_Answer):
    """A column of an answer."""

    name: str = Field(examples=["revenue"])
    type: str = Field(examples=["DECIMAL(38,4)"])


class SqlAnswer(_Answer):
    """Rows of a query. Decimals are JSON numbers with all their digits."""

    sql: str = Field(description="The query as it was checked and ran.")
    tables: list[str] = Field(description="Tables that it read.", examples=[["marts.orders"]])
    columns: list[SqlColumn]
    truncated: bool = Field(description="Whether there are more rows than `limit`.")
    rows: list[dict[str, Any]]
