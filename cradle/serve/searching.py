"""The route of the search: by meaning and by words, narrowed by any attribute of the products."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError

from cradle.search.hits import PRODUCTS, Mode, Narrow
from cradle.serve import schemas
from cradle.serve.selection import Wish, twice
from cradle.serve.store import Store
from cradle.serve.tables import FILTER

PATH: Final = "/search"
PARAMETERS: Final = ("q", "k", "corpus", "sku", "document_id", "mode")
DESCRIPTION: Final = (
    "Any further parameter is a filter on the products: `?q=ceiling light&ip_rating=IP65` finds only texts of products "
    "whose column equals the value. A column that is called like a parameter is written `filter.<column>`."
)


def add_search(app: FastAPI, store: Store) -> None:
    """Add the search."""

    @app.get(
        PATH,
        tags=["search"],
        summary="Chunks that answer a question best",
        description=DESCRIPTION,
        responses={503: {"description": "This release can't search, or not now"}},
    )
    def search(
        request: Request,
        q: Annotated[
            str,
            Query(
                min_length=1,
                max_length=2000,
                description="Question, words or article number.",
                examples=["warm white ceiling light"],
            ),
        ],
        k: Annotated[int, Query(ge=1, le=100, description="How many chunks.", examples=[5])] = 5,
        corpus: Annotated[str | None, Query(description="`products` or `general`.", examples=["products"])] = None,
        sku: Annotated[str | None, Query(description="Only this product.", examples=["DEMO-MON-27"])] = None,
        document_id: Annotated[str | None, Query(description="Only this document.", examples=["DEMO-MON-27"])] = None,
        mode: Annotated[
            Mode | None,
            Query(
                description="By meaning, by words or by both; none: by both, and by words while meaning can't be had.",
                examples=["hybrid"],
            ),
        ] = None,
    ) -> schemas.Found:
        given = {"corpus": corpus, "sku": sku, "document_id": document_id}
        narrow = _narrow(request, store, {name: value for name, value in given.items() if value is not None})
        used, hits = store.search(q, k, narrow, mode)
        request.state.rows = len(hits)
        return schemas.Found(query=q, mode=used, hits=[schemas.HitInfo(**asdict(hit)) for hit in hits])


def _narrow(request: Request, store: Store, plain: dict[str, str]) -> Narrow:
    """Return what the parameters narrow a search to.

    Raises:
        RequestValidationError: one is no column of the products, or is given twice.
    """
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name not in PARAMETERS]
    filters = {name.removeprefix(FILTER): value for name, value in pairs}
    again = twice(name.removeprefix(FILTER) for name, _ in pairs)
    if again:
        raise _invalid(again[0], "given more than once", filters[again[0]])
    columns = store.columns(PRODUCTS)
    for name, value in filters.items():
        if name not in columns:
            known = ", ".join(sorted({*PARAMETERS, *columns}))
            raise _invalid(name, f"unknown parameter; known: {known}", value)
    if not filters:
        return Narrow(plain)
    return Narrow(plain, store.select(PRODUCTS, Wish(filters)).tests(), tuple(filters.values()))


def _invalid(parameter: str, message: str, value: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "extra_forbidden", "loc": ("query", parameter), "msg": message, "input": value}]
    )
