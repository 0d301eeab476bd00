"""What a search finds and may be narrowed by, and where its texts stand in an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from cradle.manifest import Manifest

Mode = Literal["hybrid", "semantic", "lexical"]
CHUNK_TABLES: Final = {"products": "marts.products_chunks", "general": "marts.general_chunks"}
PRODUCTS: Final = "marts.syndication_products"
COLUMNS: Final = ("chunk_id", "corpus", "document_id", "title", "heading", "text", "sku", "source_file")


@dataclass(frozen=True)
class Hit:
    """A chunk that was found.

    Attributes:
        score: by meaning the cosine similarity; by words BM25; by both the weighted sum of the two, each stretched from
            0 to 1 over the best chunks, and 1 more for the article number that was asked for.
    """

    score: float
    chunk_id: str
    corpus: str
    document_id: str
    title: str | None
    heading: str | None
    text: str
    sku: str | None
    source_file: str | None


@dataclass(frozen=True)
class Narrow:
    """What a search is narrowed to.

    Attributes:
        plain: corpus, document_id or sku → value.
        where: SQL over the columns of the products, with a ? for each of `values`; empty: every product.
    """

    plain: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    values: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.plain or self.where)


def chunks_sql(root: Path, manifest: Manifest) -> str:
    """Return SQL for the chunks of both corpora."""
    parts = [
        f"select *, '{corpus}' as corpus from read_parquet('{quoted(root / manifest.tables[table].file)}')"
        for corpus, table in CHUNK_TABLES.items()
        if table in manifest.tables
    ]
    return " union all by name ".join(parts)


def quoted(path: Path) -> str:
    """Return a path as it stands between quotes in SQL."""
    return str(path).replace("'", "''")
