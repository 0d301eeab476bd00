"""The block `installation` of a customer's YAML: how its data are read and made.

Its hash is the identity of the parameters; a changed block needs a new epoch.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cradle import names

Format = Literal["csv", "xlsx", "json", "jsonl", "parquet", "text", "markdown", "html"]
ColumnType = Literal["text", "integer", "decimal", "double", "date", "timestamp", "boolean"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dialect(_Model):
    """How a source writes files and values; pinned, never guessed during a run."""

    encoding: str = "utf-8"
    fallback_encoding: str | None = Field(default=None, description="Tried per file when `encoding` does not decode.")
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str | None = Field(default='"', max_length=1)
    header_row: int = Field(default=1, ge=1, description="1-based row of the header.")
    sheets: tuple[str, ...] = Field(default=(), description="Sheets to read; none named: all.")
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    date_format: str = Field(default="%Y-%m-%d", description="strptime form of dates.")
    timestamp_format: str = Field(default="%Y-%m-%d %H:%M:%S", description="strptime form of timestamps.")
    true_values: tuple[str, ...] = ("true", "yes", "ja", "1")
    false_values: tuple[str, ...] = ("false", "no", "nein", "0")
    null_values: tuple[str, ...] = Field(default=("",), description="Cells that mean: no value.")
    records: str | None = Field(default=None, description="JSON: key under which the list of records stands.")


class Column(_Model):
    """One column of a role, and the header under which the files carry it."""

    name: str
    header: str | None = Field(default=None, description="Header in the file; none: the column's own name.")
    type: ColumnType = "text"
    required: bool = False
    unit: str | None = None
    label: str | None = Field(default=None, description="How a person calls it; used in product texts.")
    description: str = ""
    in_text: bool = Field(default=False, description="Part of the product's text for search.")

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not names.is_name(value):
            raise ValueError(f"column {value!r} is not a name: use a-z, 0-9 and _ (begin with a letter)")
        return value

    @property
    def delivered_as(self) -> str:
        """Header by which the file carries this column."""
        return self.header if self.header is not None else self.name


class Source(_Model):
    """One stream of deliveries: some files, their role, their mapping."""

    name: str
    role: str
    format: Format
    files: tuple[str, ...] = Field(min_length=1, description="Globs below the inbox, dated folders left out.")
    delivery: Literal["full", "incremental"] = "full"
    dialect: Dialect = Dialect()
    key: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for value in (self.name, self.role):
            if not names.is_name(value):
                raise ValueError(f"{value!r} is not a name: use a-z, 0-9 and _ (begin with a letter)")
        own = [column.name for column in self.columns]
        twice = sorted({name for name in own if own.count(name) > 1})
        if twice:
            raise ValueError(f"source {self.name}: column {', '.join(twice)} is named twice")
        missing = [name for name in self.key if name not in own]
        if missing:
            raise ValueError(f"source {self.name}: key {', '.join(missing)} is not among its columns {', '.join(own)}")
        return self

    def mapping(self) -> dict[str, Any]:
        """Return what decides how bytes become raw rows; part of the key under which an original is loaded."""
        reading = self.dialect.model_dump(
            include={"encoding", "fallback_encoding", "delimiter", "quote", "header_row", "sheets", "records"}
        )
        return {
            "source": self.name,
            "role": self.role,
            "format": self.format,
            "reading": reading,
            "columns": [[column.name, column.delivered_as] for column in self.columns],
        }


class Chunking(_Model):
    """Sizes in characters of the text."""

    max_chars: int = Field(default=800, ge=100, le=20_000)
    overlap_chars: int = Field(default=80, ge=0)


class Embedding(_Model):
    """The model and how texts are put to it."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str = "package"
    query_prefix: str = ""
    passage_prefix: str = ""
    normalize: bool = True
    max_tokens: int = Field(default=256, ge=8, le=8192)
    precision: Literal["bf16", "fp32"] = Field(
        default="bf16", description="Least precision; hardware without bf16 computes in fp32."
    )


class GoldenQuestion(_Model):
    """A question with a known answer; `verify` asks it of the baked files."""

    ask: Literal["row", "count", "search"]
    table: str = Field(description="`layer.table`, as in the release.")
    key: str | None = None
    query: str | None = None
    expect: dict[str, Any] = {}


class Image(_Model):
    """What the image holds; empty: every mart that has rows."""

    tables: tuple[str, ...] = ()
    golden: tuple[GoldenQuestion, ...] = ()
    originals: bool = Field(default=False, description="Also the documents as they were delivered.")


class Installation(_Model):
    """How this customer's data are read and made. A change needs a new epoch."""

    sources: tuple[Source, ...] = Field(min_length=1)
    chunking: Chunking = Chunking()
    embedding: Embedding = Embedding()
    image: Image = Image()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        own = [source.name for source in self.sources]
        twice = sorted({name for name in own if own.count(name) > 1})
        if twice:
            raise ValueError(f"source {', '.join(twice)} is named twice")
        for role in sorted({source.role for source in self.sources}):
            self.columns(role)
            keys = {source.key for source in self.of_role(role)}
            if len(keys) > 1:
                shown = " and ".join(sorted(f"[{', '.join(key)}]" for key in keys))
                raise ValueError(f"role {role}: its sources have the keys {shown}; give all of them one key")
        return self

    def of_role(self, role: str) -> tuple[Source, ...]:
        """Return the sources of one role, in the order of the YAML."""
        return tuple(source for source in self.sources if source.role == role)

    def columns(self, role: str) -> tuple[Column, ...]:
        """Return the union of a role's columns, first mention first.

        Raises:
            ValueError: two sources give one column different types.
        """
        union: dict[str, Column] = {}
        for source in self.of_role(role):
            for column in source.columns:
                first = union.setdefault(column.name, column)
                if first.type != column.type:
                    raise ValueError(
                        f"role {role}: column {column.name} is {first.type} in one source and {column.type} in "
                        f"{source.name}; give both one type"
                    )
        return tuple(union.values())


def installation_hash(installation: Installation) -> str:
    """Return the SHA-256 (hex) of an installation block.

    Values equal to the defaults are left out, so that a field added to this model later changes no hash; an epoch
    is stored with every value spelled out, so that a default changed later is noticed as a change.
    """
    block = installation.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(block, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def changed_fields(old: Any, new: Any, path: str = "installation") -> list[str]:
    """Return the paths at which two JSON values differ, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for key in keys for line in changed_fields(old.get(key), new.get(key), f"{path}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for at, (left, right) in pairs for line in changed_fields(left, right, f"{path}[{at}]")]
    return [] if old == new else [f"{path}: {short(old)} → {short(new)}"]


def short(value: Any) -> str:
    """Return a value as JSON, cut where it gets long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
