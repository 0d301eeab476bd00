"""The routes of tables, rows and products."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import StreamingResponse

from cradle.serve import fresh, schemas
from cradle.serve.bounds import Bounds
from cradle.serve.formats import MEDIA_TYPES, SHAPES, Format, encoded, wanted
from cradle.serve.problems import BUSY_SECONDS, Refusal
from cradle.serve.selection import Selection, Wish, twice
from cradle.serve.store import Store

PAGE_DEFAULT: Final = 10
PAGE_MOST: Final = 1_000
FILE_MOST: Final = 1_000_000
PARAMETERS: Final = ("limit", "offset", "columns", "sort", "format")
FILTER: Final = "filter."  # before the name of a column that is called like a parameter

Limit = Annotated[
    int | SkipJsonSchema[None],
    Query(
        ge=0,
        le=FILE_MOST,
        description=f"Rows of one page. JSON: {PAGE_DEFAULT} unless told, at most {PAGE_MOST:,}. "
        f"Files: all unless told, at most {FILE_MOST:,}.",
        examples=[10],
    ),
]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Rows to pass over.", examples=[0])]
Columns = Annotated[
    str | SkipJsonSchema[None],
    Query(description="Only these columns, in this order.", examples=["order_id,amount"]),
]
Sort = Annotated[
    str | SkipJsonSchema[None],
    Query(description="Columns to sort by, `-` before those that fall; else by key.", examples=["-amount"]),
]
Kind = Annotated[
    Format | SkipJsonSchema[None],
    Query(alias="format", description="Format of the answer; else what `Accept` says.", examples=["json"]),
]
TableName = Annotated[str, InPath(description="Name with or without its layer.", examples=["marts.orders"])]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "No such table, column or row"}}
UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "The client has this answer already"}}
FILES: Final[dict[int | str, dict[str, Any]]] = {
    **NOT_FOUND,
    **UNCHANGED,
    200: {
        "description": "Rows; `Link` names the next page while there is one",
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for kind, media in MEDIA_TYPES.items()
            if kind != "json"
        },
    },
    406: {"description": "`Accept` allows none of the formats"},
    503: {"description": "Too many files are being written"},
    504: {"description": "The query took too long"},
}
DESCRIPTION: Final = (
    "Any further parameter is a filter: `?region=South` keeps the rows whose column equals the value. "
    "A column that is called like a parameter is written `filter.<column>`."
)


class Rows:
    """Answers with rows of a store."""

    def __init__(self, store: Store, bounds: Bounds) -> None:
        self._store, self._bounds = store, bounds
        self._files = threading.BoundedSemaphore(bounds.files)

    def answer(self, request: Request, table: str, limit: int | None, offset: int, kind: Format | None) -> Response:
        """Return a page of rows, or a file of them.

        Raises:
            UnknownTable: no such table or column.
            Refusal: a value is not allowed, or the service is busy.
            TooSlow: it took too long.
        """
        form = wanted(kind, request.headers.get("Accept"))
        wish = _wish(request)
        selection = self._store.select(table, wish)
        if form == "json" and limit is not None and limit > PAGE_MOST:
            raise _invalid("limit", f"a page of JSON holds at most {PAGE_MOST:,} rows, a file {FILE_MOST:,}", limit)
        size = (PAGE_DEFAULT if form == "json" else FILE_MOST) if limit is None else limit
        tag = fresh.tag_of(request, self._store.manifest.release_id, form)
        known = fresh.unchanged(request, tag)
        if known is not None:
            return known
        total = self._store.count(selection, self._bounds.seconds)
        headers = {**fresh.headers(tag), "X-Total-Count": str(total), **_next(request, total, size, offset)}
        if form == "json":
            return self._page(request, selection, size, offset, total, headers)
        return self._file(request, selection, size, offset, form, headers)

    def _page(
        self, request: Request, selection: Selection, limit: int, offset: int, total: int, headers: dict[str, str]
    ) -> Response:
        """Answer with rows as DuckDB wrote them, so that decimals keep their digits."""
        rows = self._store.page(selection, limit, offset, self._bounds.seconds)
        request.state.rows = len(rows)
        head = f'{{"table":"{selection.table}","total":{total},"limit":{limit},"offset":{offset},"rows":['
        return Response(head + ",".join(rows) + "]}", headers=headers, media_type=MEDIA_TYPES["json"])

    def _file(
        self, request: Request, selection: Selection, limit: int, offset: int, form: Format, headers: dict[str, str]
    ) -> Response:
        parts = self._parts(request, selection, limit, offset, form)
        first = next(parts)  # what fails at once is still an answer of its own
        extension = "arrows" if form == "arrow" else form
        headers["Content-Disposition"] = f'attachment; filename="{selection.table}.{extension}"'
        return StreamingResponse(itertools.chain([first], parts), headers=headers, media_type=MEDIA_TYPES[form])

    def _parts(self, request: Request, selection: Selection, limit: int, offset: int, form: Format) -> Iterator[bytes]:
        if not self._files.acquire(blocking=False):
            told = f"{self._bounds.files} files are being written, which is all that may be. Try again later."
            raise Refusal(503, told, headers={"Retry-After": str(BUSY_SECONDS)})
        try:
            request.state.rows = 0
            found = self._store.batches(selection, SHAPES[form], limit, offset, self._bounds.seconds)
            for part, rows in encoded(found, form):
                request.state.rows += rows
                yield part
            yield b""  # so that there is a first part of a file without a byte
        finally:
            self._files.release()


def _wish(request: Request) -> Wish:
    """Return what the parameters say about rows.

    Raises:
        RequestValidationError: one is given twice, or names a column twice.
    """
    pairs = request.query_params.multi_items()
    again = twice(name for name, _ in pairs)
    if again:
        raise _invalid(again[0], "given more than once", "")
    filters = {name.removeprefix(FILTER): value for name, value in pairs if name not in PARAMETERS}
    if len(filters) < sum(name not in PARAMETERS for name, _ in pairs):
        raise _invalid("filter", "a column is given with and without `filter.`", "")
    lists = {name: _list(name, request.query_params.get(name)) for name in ("columns", "sort")}
    return Wish(filters, lists["columns"], lists["sort"])


def _list(parameter: str, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    names = tuple(name.strip() for name in value.split(","))
    if not all(name.removeprefix("-") for name in names):
        raise _invalid(parameter, "holds an empty name; write columns with a comma between them", value)
    again = twice(name.removeprefix("-") for name in names)
    if again:
        raise _invalid(parameter, f"names {again[0]} more than once", value)
    return names


def _invalid(parameter: str, message: str, value: object) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "value_error", "loc": ("query", parameter), "msg": message, "input": str(value)}]
    )


def _next(request: Request, total: int, limit: int, offset: int) -> dict[str, str]:
    """Return the header that names the next page, while there is one."""
    if not limit or offset + limit >= total:
        return {}
    others = [(name, value) for name, value in request.query_params.multi_items() if name not in ("limit", "offset")]
    query = urlencode([*others, ("limit", limit), ("offset", offset + limit)])
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}


def add_tables(app: FastAPI, store: Store, bounds: Bounds) -> None:
    """Add the routes of tables and rows."""
    rows_of = Rows(store, bounds)

    @app.get(
        "/tables",
        tags=["tables"],
        summary="All tables with their columns",
        response_model=schemas.Tables,
        responses=UNCHANGED,
    )
    def tables(request: Request, response: Response) -> Any:
        tag = fresh.tag_of(request, store.manifest.release_id)
        response.headers.update(fresh.headers(tag))
        return fresh.unchanged(request, tag) or _all_tables(store)

    def rows(
        request: Request,
        table: TableName,
        limit: Limit = None,
        offset: Offset = 0,
        columns: Columns = None,
        sort: Sort = None,
        kind: Kind = None,
    ) -> Response:
        return rows_of.answer(request, table, limit, offset, kind)

    for path, tag, summary in (
        ("/tables/{table}/rows", "tables", "Rows of a table in key order, as JSON or as a file"),
        ("/delta/query/{table}", "earlier API", "Rows of a table, with `total`"),
    ):
        told: Any = {"tags": [tag], "summary": summary, "description": DESCRIPTION}
        app.add_api_route(path, rows, response_model=schemas.Page, responses=FILES, **told)


def add_products(app: FastAPI, store: Store) -> None:
    """Add the look-up of one product."""

    @app.get(
        "/products/{sku}",
        tags=["products"],
        summary="One product by its article number",
        response_model=dict[str, Any],
        responses={**NOT_FOUND, **UNCHANGED},
    )
    def product(
        request: Request, sku: Annotated[str, InPath(description="Article number.", examples=["DEMO-MON-27"])]
    ) -> Response:
        row = store.row("marts.syndication_products", sku)
        if row is None:
            raise Refusal(404, f"product {sku!r} is unknown in this release. Look it up with /search?q=…")
        tag = fresh.tag_of(request, store.manifest.release_id)
        return fresh.unchanged(request, tag) or Response(
            row, headers=fresh.headers(tag), media_type=MEDIA_TYPES["json"]
        )


def _all_tables(store: Store) -> schemas.Tables:
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
