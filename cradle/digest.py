"""Content digests: what data say, free of order, snapshot ids, file names and times."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

DIGEST_FORMAT = 1  # a change here changes every content digest


def step_key(verb: str, **parts: Any) -> str:
    """Return the SHA-256 (hex) of a verb and of what defines its result (DESIGN, section 6)."""
    return canonical_hash({"verb": verb, **parts})


def canonical_hash(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(con: Any, relation: str) -> str:
    """Return the SHA-256 (hex) over the sorted SHA-256 of each row, written as JSON, and over names and types.

    Args:
        con: a DuckDB connection.
        relation: SQL text that may follow FROM.
    """
    described = con.execute(f"describe select * from {relation}").fetchall()
    columns = ", ".join('"' + row[0].replace('"', '""') + '"' for row in described)
    (rows,) = con.execute(
        "select coalesce(sha256(string_agg(h, '' order by h)), '') from "
        f"(select sha256(to_json(r)::varchar) h from (select {columns} from {relation}) r)"
    ).fetchone()
    return canonical_hash({"format": DIGEST_FORMAT, "columns": [[row[0], row[1]] for row in described], "rows": rows})


def content_digest_of(tables: dict[str, str], collection: str | None, model_key: str | None) -> str:
    """Return the digest of what a release's data say, from those of its tables and of its collection."""
    return canonical_hash({"tables": tables, "collection": collection, "model_key": model_key})


def release_id_of(content_digest: str, epoch: int, params_hash: str) -> str:
    """Return the id of a release: the same content, made with the same parameters, is the same release."""
    return canonical_hash({"content": content_digest, "epoch": epoch, "params": params_hash})
