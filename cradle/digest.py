"""Content digests: what data say, free of order, snapshot ids, file names and times."""

from __future__ import annotations

import hashlib
import itertools
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
    return _digest_of_rows(described, rows)


def _digest_of_rows(described: Any, rows: str) -> str:
    return canonical_hash({"format": DIGEST_FORMAT, "columns": [[row[0], row[1]] for row in described], "rows": rows})


class PartsDigest:
    """The content digest of rows that come in parts: equal to `content_digest` of all of them at once.

    Of each row 32 bytes are kept. Python's SHA-256 (OpenSSL) is several times as fast as DuckDB's.
    """

    def __init__(self, con: Any, schema: Any) -> None:
        self._con = con
        con.register("part", schema.empty_table())
        self._columns = con.execute("describe select * from part").fetchall()
        names = ", ".join('"' + row[0].replace('"', '""') + '"' for row in self._columns)
        self._sql = f"select to_json(r)::varchar from (select {names} from part) r"
        self._rows: list[bytes] = []

    def add(self, part: Any) -> None:
        """Take the rows of an Arrow table with the schema that was named."""
        self._con.register("part", part)
        for batch in self._con.execute(self._sql).to_arrow_reader():
            _, offsets, data = batch.column(0).buffers()
            ends, text = memoryview(offsets).cast("i")[: len(batch) + 1], memoryview(data)
            hashes = [hashlib.sha256(text[begin:end]).digest() for begin, end in itertools.pairwise(ends)]
            self._rows.append(b"".join(hashes))

    def value(self) -> str:
        """Return the digest of all rows so far."""
        import numpy as np

        rows = np.sort(np.frombuffer(b"".join(self._rows), dtype="S32"))
        text = hashlib.sha256()
        for at in range(0, len(rows), 1 << 16):
            text.update(rows[at : at + (1 << 16)].tobytes().hex().encode())
        return _digest_of_rows(self._columns, text.hexdigest() if len(rows) else "")


def content_digest_of(tables: dict[str, str], collection: str | None, model_key: str | None) -> str:
    """Return the digest of what a release's data say, from those of its tables and of its collection."""
    return canonical_hash({"tables": tables, "collection": collection, "model_key": model_key})


def release_id_of(content_digest: str, epoch: int, params_hash: str) -> str:
    """Return the id of a release: the same content, made with the same parameters, is the same release."""
    return canonical_hash({"content": content_digest, "epoch": epoch, "params": params_hash})
