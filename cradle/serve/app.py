"""The data API of an image, put together. Every answer, errors included, names the release in its header."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from cradle import __version__
from cradle.access import Keys, active_admins
from cradle.errors import ConfigError
from cradle.log import get
from cradle.serve import schemas
from cradle.serve.audit import Audit
from cradle.serve.bounds import Bounded, Bounds, Receive, Scope, Send
from cradle.serve.credentials import add_keys, add_tokens
from cradle.serve.documents import add_documents
from cradle.serve.formats import MEDIA_TYPES
from cradle.serve.guard import Guard
from cradle.serve.metrics import Counting, Metrics
from cradle.serve.problems import OPEN, STATIC, add_errors, describe
from cradle.serve.searching import PATH as SEARCH
from cradle.serve.searching import add_search
from cradle.serve.sql import Runner, add_sql
from cradle.serve.state import VECTORS, add_numbers, add_state
from cradle.serve.store import Store
from cradle.serve.tables import add_products, add_tables
from cradle.serve.tokens import Tokens

log = get("serve")
HEADER = "X-Cradle-Release"
GZIP_LEVEL = 6
PACKED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, MEDIA_TYPES["parquet"])  # compressed already


class ReleaseHeader:
    """Puts the release id into the header of every answer."""

    def __init__(self, app: Any, release: str) -> None:
        self._app, self._value = app, release.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (HEADER.lower().encode(), self._value)]
            await send(message)

        await self._app(scope, receive, marked if scope["type"] == "http" else send)


def create_app(
    root: Path,
    threads: int = 2,
    *,
    store: Store | None = None,
    state: Path | None = None,
    access: bool = False,
    bounds: Bounds | None = None,
) -> Any:
    """Return the API of an unpacked image as an ASGI application.

    Args:
        store: the opened image; none: it is opened here, and all of it before this returns.
        state: folder of keys and audit; what changes at the customer's lies there alone.
        access: whether a key is needed for every route but those of the state.

    Raises:
        VerifyFailed: the folder holds no manifest.
        ConfigError: access without a state folder.
        Unavailable: the keys can't be read.
    """
    store, limits = store or Store(root, threads), bounds or Bounds()
    metrics = Metrics(store.manifest.customer, store.manifest.release_id)
    runner = Runner(store.root, store.manifest, limits, threads)
    app = _with_routes(store, metrics, limits, runner)
    describe(app, store.manifest.release_id, access=access)
    app.add_middleware(GZipMiddleware, minimum_size=500, compresslevel=GZIP_LEVEL, exclude_content_types=PACKED)
    bounded = Bounded(app, limits)
    guarded = _guarded(app, bounded, store, state, limits) if access else bounded
    # Outermost, so that an answer to an unforeseen error is marked too.
    return ReleaseHeader(Counting(guarded, metrics), store.manifest.release_id)


def _with_routes(store: Store, metrics: Metrics, bounds: Bounds, runner: Runner) -> FastAPI:
    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        runner.close()

    # Its page comes from the image: at the customer's there may be no network.
    app = FastAPIOffline(
        redoc_url=None,
        static_url=STATIC,
        title=f"Cradle data API of {store.manifest.customer}",
        version=__version__,
        description=f"Tables, products and search of release `{store.manifest.release_id[:12]}`. Read-only.",
        dependencies=[Depends(only_known_parameters)],
        lifespan=life,
    )
    add_errors(app)
    add_state(app, store)
    add_numbers(app, store, metrics)
    add_tables(app, store, bounds)
    add_documents(app, store)
    add_products(app, store)
    add_sql(app, runner, bounds)
    add_search(app, store)
    _add_legacy(app, store)
    return app


def _guarded(app: FastAPI, inner: Any, store: Store, state: Path | None, bounds: Bounds) -> Guard:
    """Return the application behind its guard, and give it the routes of keys."""
    if state is None:
        raise ConfigError("access is to be checked, and no state folder is named for the keys. Name one with `state`.")
    keys = Keys(state)
    if not active_admins(keys.all()):
        log.warning("no key of an administrator is valid: nobody can make keys", state=str(state))
    tokens = Tokens(state, keys, store.manifest.customer, bounds.token_seconds)
    add_tokens(app, tokens)
    add_keys(app, keys)
    return Guard(inner, keys, tokens, Audit(state), bounds.rate, store.manifest.release_id)


def only_known_parameters(request: Request) -> None:
    """Refuse a parameter that the route doesn't know: a typo would pass unseen.

    Raises:
        RequestValidationError: there is one.
    """
    route = request.scope["route"]
    if route.path in OPEN or route.path == SEARCH or "{table}" in route.path:  # there columns are parameters
        return
    known = sorted(one.alias for one in route.dependant.query_params)
    for name, value in request.query_params.multi_items():
        if name not in known:
            told = f"unknown parameter; known: {', '.join(known) or 'none'}"
            raise RequestValidationError(
                [{"type": "extra_forbidden", "loc": ("query", name), "msg": told, "input": value}]
            )


def _add_legacy(app: FastAPI, store: Store) -> None:
    """Paths of the earlier API, kept as aliases."""

    @app.get("/delta/tables", tags=["earlier API"], summary="Names of the tables")
    def delta_tables() -> schemas.LegacyTables:
        return schemas.LegacyTables(tables=[name.split(".", 1)[1] for name in store.manifest.tables])

    @app.get("/lance/datasets", tags=["earlier API"], summary="Names of the vector data sets")
    def lance_datasets() -> schemas.Names:
        return schemas.Names(datasets=[VECTORS] if store.manifest.vectors else [])
