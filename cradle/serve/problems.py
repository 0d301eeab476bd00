"""What a refusal looks like: RFC 9457's problem details, in one shape for every error of every route."""

from __future__ import annotations

import http
import json
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cradle.errors import CradleError
from cradle.log import get
from cradle.serve import schemas
from cradle.serve.store import TooSlow, UnknownTable

log = get("serve")
MEDIA_TYPE: Final = "application/problem+json"
SHOWN = 200  # characters of a wrong value that are repeated to who sent it
BUSY_SECONDS = 5


class Refusal(Exception):
    """A request that is refused; it becomes a problem with this status.

    Attributes:
        more: further members of the problem, such as what was refused and what is allowed.
        headers: of the answer.
    """

    def __init__(
        self, status: int, detail: str, more: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more, self.headers = status, detail, more or {}, headers or {}


def problem(
    status: int, detail: str, more: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return an error as problem details."""
    content = {"type": "about:blank", "title": _title(status), "status": status, "detail": detail, **(more or {})}
    # ASCII alone, so that half a character that a request held can't break the answer.
    body = json.dumps(content, default=str)
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def refused(found: Refusal) -> Response:
    """Return the problem of a refusal."""
    return problem(found.status, found.detail, found.more, found.headers)


def add_errors(app: FastAPI) -> None:
    """Make every error a problem, those of unknown paths and methods too."""

    @app.exception_handler(Refusal)
    async def refusal(_: Request, error: Refusal) -> Response:
        return refused(error)

    @app.exception_handler(UnknownTable)
    async def unknown(_: Request, error: UnknownTable) -> Response:
        return problem(404, str(error))

    @app.exception_handler(TooSlow)
    async def slow(_: Request, error: TooSlow) -> Response:
        return problem(504, str(error))

    @app.exception_handler(CradleError)
    async def unavailable(_: Request, error: CradleError) -> Response:
        return problem(503, str(error), headers={"Retry-After": str(BUSY_SECONDS)})

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return invalid_values([_plain(one) for one in error.errors()])

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("a request failed", path=request.url.path, kind=type(error).__name__, problem=str(error)[:500])
        return problem(500, "the service failed at this request; its log says why. Other requests are not affected.")


def invalid_values(errors: list[dict[str, Any]]) -> Response:
    """Return the problem of parameters whose values are not allowed."""
    told = "; ".join(f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in errors)
    return problem(422, f"{told}.", {"errors": errors})


def _plain(error: Any) -> dict[str, Any]:
    found = {"type": str(error["type"]), "loc": list(error["loc"]), "msg": str(error["msg"])}
    if isinstance(error.get("input"), str | int | float):
        found["input"] = str(error["input"])[:SHOWN]
    return found


def describe(app: FastAPI, release: str, *, access: bool) -> None:
    """Let the description of the API tell of problems as they are answered, and of keys where they are needed."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=[]
            )
            parts = document.setdefault("components", {}).setdefault("schemas", {})
            parts["Problem"] = schemas.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            for name in ("HTTPValidationError", "ValidationError"):
                parts.pop(name, None)
            for path, methods in document["paths"].items():
                for route in methods.values():
                    _describe_route(path, route, release, access)
            if access:
                document["components"]["securitySchemes"] = SCHEMES
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, or a token from `POST /auth/token`."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key."},
}
METRICS: Final = "/metrics"
STATIC: Final = "/api-page"  # scripts and styles of the page that describes the API
PAGES: Final = ("/docs", "/openapi.json")  # they describe the API and show nothing of the data
OPEN: Final = ("/health", "/ready", METRICS)
# What any route may answer; the statuses that a route names itself come on top.
ANYWHERE: Final = {
    413: "The body is too large",
    414: "The address is too long",
    422: "A value is not allowed",
    500: "The service failed at this request",
}
WITH_ACCESS: Final = {
    401: "No key, or one that is not valid",
    403: "The key's role is not allowed to do this",
    429: "Too many requests with this key",
}


def _describe_route(path: str, route: dict[str, Any], release: str, access: bool) -> None:
    told = dict(ANYWHERE)
    if access and path not in OPEN:
        told |= WITH_ACCESS
        route["security"] = [{name: []} for name in SCHEMES]
    if "requestBody" in route:
        told[400] = "The body is no JSON"
    for status, meaning in told.items():
        route["responses"].setdefault(str(status), {}).setdefault("description", meaning)
    if path == METRICS:
        route["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    header = {"description": "Id of the release.", "schema": {"type": "string"}, "example": release}
    for status, answer in route["responses"].items():
        answer.setdefault("headers", {})["X-Cradle-Release"] = header
        own = answer.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
        if int(status) >= 400 and own.rsplit("/", 1)[-1] in ("", "HTTPValidationError", "Problem"):
            answer["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
