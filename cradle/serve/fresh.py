"""Entity tags: a release never changes, so its id and the request name an answer, and it need not be sent twice."""

from __future__ import annotations

import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response

from cradle import __version__


def tag_of(request: Request, release: str, *more: str) -> str:
    """Return the entity tag of an answer; weak, because compression changes its bytes."""
    asked = "\n".join([__version__, request.url.path, request.url.query, *more])
    return f'W/"{release[:16]}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"'


def headers(tag: str) -> dict[str, str]:
    """Return the headers by which an answer may be kept and asked for again."""
    return {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, X-API-Key"}


def unchanged(request: Request, tag: str) -> Response | None:
    """Return the answer `304 Not Modified` when the client has this one already."""
    known = request.headers.get("If-None-Match", "")
    bare = tag.removeprefix("W/")
    if known.strip() == "*" or bare in re.findall(r'"[^"]*"', known):
        return Response(status_code=304, headers=headers(tag))
    return None
