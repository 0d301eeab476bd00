"""The routes that tell how the service is: health and numbers."""

from __future__ import annotations

from fastapi import FastAPI

from cradle.serve import schemas
from cradle.serve.store import Store

VECTORS = "embeddings.lance"  # how the earlier API called the vector set


def add_state(app: FastAPI, store: Store) -> None:
    """Add the routes that anyone may call."""
    manifest = store.manifest
    bare = [name.split(".", 1)[1] for name in manifest.tables]
    datasets = [VECTORS] if manifest.vectors else []

    @app.get("/health", tags=["state"], summary="Whether the service answers, and what it can do")
    def health() -> schemas.Health:
        searching = store.can_search or manifest.vectors is None
        return schemas.Health(
            status="healthy" if searching else "degraded",
            release=manifest.release_id,
            capabilities={"tables": True, "search": store.can_search},
            problem=None if searching else store.search_problem,
            delta_tables=bare,
            lance_datasets=datasets,
        )

    @app.get("/stats", tags=["state"], summary="Numbers of the release")
    def stats() -> schemas.Stats:
        return schemas.Stats(
            delta_tables=len(manifest.tables),
            lance_datasets=len(datasets),
            total_size_mb=round(store.bytes() / 1_000_000, 2),
            customer=manifest.customer,
            release=manifest.release_id,
            logical_date=manifest.logical_date.isoformat(),
            rows={name: entry.rows for name, entry in manifest.tables.items()},
            vectors=manifest.vectors.count if manifest.vectors else 0,
            dimension=manifest.vectors.dimension if manifest.vectors else None,
            model=manifest.encoder.model if manifest.encoder else None,
        )
