"""The routes of an image's data API. Every answer, errors included, names the release in its header."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from cradle import __version__
from cradle.errors import CradleError
from cradle.serve import schemas
from cradle.serve.metrics import Counting, Metrics
from cradle.serve.state import VECTORS, add_state
from cradle.serve.store import Store, UnknownTable

HEADER = "X-Cradle-Release"
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": schemas.Problem}}
PAGING = {"limit", "offset"}

Limit = Annotated[int, Query(ge=0, le=1000, description="Rows of one page.", examples=[10])]
Offset = Annotated[int, Query(ge=0, description="Rows to pass over.", examples=[0])]
TableName = Annotated[str, InPath(description="Name with or without its layer.", examples=["marts.orders"])]
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ReleaseHeader:
    """Puts the release id into the header of every answer."""

    def __init__(self, app: Any, release: str) -> None:
        self._app, self._value = app, release.encode()

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Pass a request on."""

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (HEADER.lower().encode(), self._value)]
            await send(message)

        await self._app(scope, receive, marked if scope["type"] == "http" else send)


def create_app(root: Path, threads: int = 2, *, store: Store | None = None) -> Any:
    """Return the API of an unpacked image as an ASGI application.

    Args:
        store: the opened image; none: it is opened here, and all of it before this returns.

    Raises:
        VerifyFailed: the folder holds no manifest.
    """
    store = store or Store(root, threads)
    metrics = Metrics(store.manifest.customer, store.manifest.release_id)
    app = FastAPI(
        title=f"Cradle data API of {store.manifest.customer}",
        version=__version__,
        description=f"Tables, products and search of release `{store.manifest.release_id[:12]}`. Read-only.",
    )
    _add_errors(app)
    add_state(app, store, metrics)
    _add_tables(app, store)
    _add_search(app, store)
    _add_legacy(app, store)
    # Outermost, so that an answer to an unforeseen error is marked too.
    return ReleaseHeader(Counting(app, metrics), store.manifest.release_id)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UnknownTable)
    async def unknown(_: Request, error: UnknownTable) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=404)

    @app.exception_handler(CradleError)
    async def unavailable(_: Request, error: CradleError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=503)


def _add_tables(app: FastAPI, store: Store) -> None:
    @app.get("/tables", tags=["tables"], summary="All tables with their columns")
    def tables() -> schemas.Tables:
        found = [
            schemas.TableInfo(
                name=name,
                rows=entry.rows,
                key=list(entry.key),
                columns=[schemas.ColumnInfo(**column.model_dump()) for column in entry.columns],
            )
            for name, entry in store.manifest.tables.items()
        ]
        return schemas.Tables(tables=found)

    @app.get(
        "/tables/{table}/rows",
        tags=["tables"],
        summary="Rows of a table in key order",
        description="Any further parameter is a filter: `?region=South` keeps the rows whose column equals the value.",
        response_model=schemas.Page,
        responses=NOT_FOUND,
    )
    def rows(request: Request, table: TableName, limit: Limit = 10, offset: Offset = 0) -> Response:
        return _page(store, table, limit, offset, _filters(request))

    @app.get(
        "/products/{sku}",
        tags=["products"],
        summary="One product by its article number",
        response_model=dict[str, Any],
        responses=NOT_FOUND,
    )
    def product(sku: Annotated[str, InPath(description="Article number.", examples=["DEMO-MON-27"])]) -> Response:
        row = store.row("marts.syndication_products", sku)
        if row is None:
            raise HTTPException(404, f"product {sku!r} is unknown in this release. Look it up with /search?q=…")
        return Response(row, media_type="application/json")


def _filters(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.query_params.items() if name not in PAGING}


def _page(store: Store, table: str, limit: int, offset: int, filters: dict[str, str]) -> Response:
    """Answer with rows as DuckDB wrote them, so that decimals keep their digits."""
    full, _ = store.table(table)
    total, rows = store.rows(full, limit, offset, filters)
    head = f'{{"table":"{full}","total":{total},"limit":{limit},"offset":{offset},"rows":['
    return Response(head + ",".join(rows) + "]}", media_type="application/json")


def _add_search(app: FastAPI, store: Store) -> None:
    @app.get(
        "/search",
        tags=["search"],
        summary="Chunks nearest to a question",
        responses={503: {"model": schemas.Problem}},
    )
    def search(
        q: Annotated[
            str,
            Query(min_length=1, max_length=2000, description="The question.", examples=["warm white ceiling light"]),
        ],
        k: Annotated[int, Query(ge=1, le=100, description="How many chunks.", examples=[5])] = 5,
        corpus: Annotated[str | None, Query(description="`products` or `general`.", examples=["products"])] = None,
        sku: Annotated[str | None, Query(description="Only this product.", examples=["DEMO-MON-27"])] = None,
        document_id: Annotated[str | None, Query(description="Only this document.", examples=["DEMO-MON-27"])] = None,
    ) -> schemas.Found:
        given = {"corpus": corpus, "sku": sku, "document_id": document_id}
        hits = store.search(q, k, {name: value for name, value in given.items() if value is not None})
        return schemas.Found(query=q, hits=[schemas.HitInfo(**asdict(hit)) for hit in hits])


def _add_legacy(app: FastAPI, store: Store) -> None:
    """Paths of the earlier API, kept as aliases."""

    @app.get("/delta/tables", tags=["earlier API"], summary="Names of the tables")
    def delta_tables() -> schemas.LegacyTables:
        return schemas.LegacyTables(tables=[name.split(".", 1)[1] for name in store.manifest.tables])

    @app.get(
        "/delta/query/{table}",
        tags=["earlier API"],
        summary="Rows of a table, with `total`",
        response_model=schemas.Page,
        responses=NOT_FOUND,
    )
    def delta_query(request: Request, table: TableName, limit: Limit = 10, offset: Offset = 0) -> Response:
        return _page(store, table, limit, offset, _filters(request))

    @app.get("/lance/datasets", tags=["earlier API"], summary="Names of the vector data sets")
    def lance_datasets() -> schemas.Names:
        return schemas.Names(datasets=[VECTORS] if store.manifest.vectors else [])
