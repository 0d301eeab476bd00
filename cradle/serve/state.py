"""The routes that tell how the service is: health, readiness, numbers of the release, numbers for Prometheus."""

from __future__ import annotations

from fastapi import FastAPI, Response

from cradle.serve import schemas
from cradle.serve.metrics import TYPE, Metrics
from cradle.serve.store import Store

VECTORS = "embeddings.lance"  # how the earlier API called the vector set


def add_state(app: FastAPI, store: Store) -> None:
    """Add the routes that anyone may call."""
    manifest = store.manifest
    bare = [name.split(".", 1)[1] for name in manifest.tables]
    datasets = [VECTORS] if manifest.vectors else []

    @app.get("/health", tags=["state"], summary="Whether the service answers, and what it can do")
    def health() -> schemas.Health:
        problem = _problem(store)
        return schemas.Health(
            status="degraded" if problem else "healthy",
            release=manifest.release_id,
            capabilities=store.capabilities(),
            problem=problem,
            delta_tables=bare,
            lance_datasets=datasets,
        )

    @app.get(
        "/ready",
        tags=["state"],
        summary="Whether all that the release promises answers; 503 when not",
        responses={503: {"model": schemas.Ready}},
    )
    def ready(response: Response) -> schemas.Ready:
        can, problem = store.capabilities(), _problem(store)
        waiting = sorted(name for name in store.promised() if not can[name])
        if problem or waiting:
            response.status_code = 503
        return schemas.Ready(
            ready=not problem and not waiting,
            release=manifest.release_id,
            capabilities=can,
            seconds={name: round(value, 3) for name, value in store.ready_after.items()},
            files="damaged" if store.integrity.damage else "checked" if store.integrity.done else "being checked",
            publisher=store.publisher,
            problem=problem or (f"not yet: {', '.join(waiting)}" if waiting else None),
        )


def add_numbers(app: FastAPI, store: Store, metrics: Metrics) -> None:
    """Add the routes with numbers."""
    manifest = store.manifest

    @app.get("/metrics", tags=["state"], summary="Numbers for Prometheus", response_class=Response)
    def numbers() -> Response:
        for name, yes in store.capabilities().items():
            metrics.ready.labels(name).set(yes)
        for name, seconds in store.ready_after.items():
            metrics.start.labels(name).set(seconds)
        metrics.damaged.set(store.integrity.damage is not None)
        return Response(metrics.text(), media_type=TYPE)

    @app.get("/stats", tags=["state"], summary="Numbers of the release")
    def stats() -> schemas.Stats:
        return schemas.Stats(
            delta_tables=len(manifest.tables),
            lance_datasets=1 if manifest.vectors else 0,
            total_size_mb=round(store.bytes() / 1_000_000, 2),
            customer=manifest.customer,
            release=manifest.release_id,
            logical_date=manifest.logical_date.isoformat(),
            rows={name: entry.rows for name, entry in manifest.tables.items()},
            vectors=manifest.vectors.count if manifest.vectors else 0,
            dimension=manifest.vectors.dimension if manifest.vectors else None,
            model=manifest.encoder.model if manifest.encoder else None,
        )


def _problem(store: Store) -> str | None:
    if store.integrity.damage:
        return f"the image is damaged: {store.integrity.damage}"
    missing = store.manifest.vectors is not None and not store.can_search and not store.opening
    return store.search_problem if missing else None
