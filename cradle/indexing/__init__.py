"""From documents to a searchable collection: chunk, embed, index."""

from cradle.indexing.chunks import ChunkResult, chunk_documents
from cradle.indexing.collections import IndexResult, index_chunks
from cradle.indexing.ledger import EmbedResult, embed_chunks
from cradle.indexing.speed import EmbedSpeed, embed_speed

__all__ = [
    "ChunkResult",
    "EmbedResult",
    "EmbedSpeed",
    "IndexResult",
    "chunk_documents",
    "embed_chunks",
    "embed_speed",
    "index_chunks",
]
