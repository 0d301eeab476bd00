"""What a search finds, and where its texts stand in an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cradle.manifest import Manifest

CHUNK_TABLES: Final = {"products": "marts.products_chunks", "general": "marts.general_chunks"}
COLUMNS: Final = ("chunk_id", "corpus", "document_id", "title", "heading", "text", "sku", "source_file")


@dataclass(frozen=True)
class Hit:
    """A chunk that was found; `score` is the cosine similarity, or for words the share of their weight."""

    score: float
    chunk_id: str
    corpus: str
    document_id: str
    title: str | None
    heading: str | None
    text: str
    sku: str | None
    source_file: str | None


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
