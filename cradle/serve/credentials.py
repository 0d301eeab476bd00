"""The routes of keys and tokens; they are there only where access is checked."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi import Path as InPath

from cradle.access import Keys, Record, active_admins, new_key, now
from cradle.serve import schemas
from cradle.serve.guard import admin_only, identity_of
from cradle.serve.problems import Refusal
from cradle.serve.tokens import Tokens

KeyId = Annotated[str, InPath(pattern=r"^[0-9a-f]{12}$", description="Id of a key.", examples=["0f1e2d3c4b5a"])]


def add_tokens(app: FastAPI, tokens: Tokens) -> None:
    """Add the exchange of a key for a token."""

    @app.post("/auth/token", tags=["access"], summary="A short-lived token for a key")
    def token(request: Request, response: Response) -> schemas.Token:
        identity = identity_of(request)
        if identity.by != "key":
            raise Refusal(403, "a token can't be exchanged for another: send the key itself.")
        response.headers["Cache-Control"] = "no-store"
        return schemas.Token(
            access_token=tokens.make(identity.record),
            token_type="bearer",
            expires_in=tokens.seconds,
            role=identity.record.role,
        )


def add_keys(app: FastAPI, keys: Keys) -> None:
    """Add what an administrator does with keys."""
    only_admin = [Depends(admin_only)]

    @app.get("/auth/keys", tags=["access"], summary="All keys, without the keys themselves", dependencies=only_admin)
    def listed() -> schemas.Keys:
        return schemas.Keys(keys=[_told(record) for record in keys.all()])

    @app.post(
        "/auth/keys",
        tags=["access"],
        summary="Make a key; it is shown this once",
        status_code=201,
        dependencies=only_admin,
        responses={503: {"description": "The state folder can't be written"}},
    )
    def made(wanted: schemas.NewKey, response: Response) -> schemas.MadeKey:
        key, record = new_key(wanted.role, wanted.name)
        keys.change(lambda records: [*records, record])
        response.headers["Cache-Control"] = "no-store"
        return schemas.MadeKey(key=key, **_told(record).model_dump())

    @app.delete(
        "/auth/keys/{key_id}",
        tags=["access"],
        summary="Revoke a key at once, with its tokens",
        dependencies=only_admin,
        responses={
            404: {"description": "No such key"},
            409: {"description": "It is the last key of an administrator"},
            503: {"description": "The state folder can't be written"},
        },
    )
    def revoked(key_id: KeyId) -> schemas.KeyInfo:
        keys.change(lambda records: _without(records, key_id))
        return next(_told(record) for record in keys.all() if record.id == key_id)


def _without(records: list[Record], identity: str) -> list[Record]:
    if all(record.id != identity for record in records):
        raise Refusal(404, f"key {identity} is unknown. GET /auth/keys lists those there are.")
    left = [
        record.model_copy(update={"revoked_at": record.revoked_at or now()}) if record.id == identity else record
        for record in records
    ]
    if not active_admins(left):
        raise Refusal(409, f"key {identity} is the last of an administrator. Make another with POST /auth/keys first.")
    return left


def _told(record: Record) -> schemas.KeyInfo:
    return schemas.KeyInfo(**record.model_dump(exclude={"sha256"}))
