"""The routes of what a person opens: a document's original, and what changed in this release."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI, HTTPException, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from cradle.serve.store import Store

# What a browser shows without running anything of it; all else is handed over as a download.
SHOWN: Final = {"application/pdf", "image/png", "image/jpeg", "image/webp", "text/plain"}
SEALED: Final = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    404: {"description": "No such document, or no original of it"},
}


def add_documents(app: FastAPI, store: Store) -> None:
    """Add the routes."""
    manifest = store.manifest

    @app.get(
        "/documents/{document_id}/original",
        tags=["documents"],
        summary="A document as it was delivered",
        response_class=FileResponse,
        responses=ANSWERS,
    )
    def original(
        document_id: Annotated[
            str, InPath(description="Id of the document, as search answers it.", examples=["price-list"])
        ],
    ) -> FileResponse:
        entry = manifest.originals.get(document_id)
        if entry is None:
            why = "is unknown" if manifest.originals else "has no original here: this release was baked without them"
            raise HTTPException(404, f"document {document_id!r} {why}. Its text is in marts.general_documents.")
        shown = entry.media_type in SHOWN
        return FileResponse(
            store.root / entry.file,
            media_type=entry.media_type if shown else "application/octet-stream",
            filename=entry.name,
            content_disposition_type="inline" if shown else "attachment",
            headers=SEALED,
        )

    @app.get(
        "/release-notes",
        tags=["state"],
        summary="What changed since the release before",
        description="Rows added, changed and removed per table: all counted, some listed; `null` for the first.",
        response_model=dict[str, Any] | None,
    )
    def notes() -> Response:
        data = (store.root / manifest.notes.file).read_bytes() if manifest.notes else b"null"
        return Response(data, media_type="application/json")
