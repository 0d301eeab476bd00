"""The formats in which rows travel: which one a request wants, and their bytes, made piece by piece."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final, Literal

from cradle.serve.json_rows import valid
from cradle.serve.problems import Refusal
from cradle.serve.selection import Shape

Format = Literal["json", "jsonl", "csv", "parquet", "arrow"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
ALIASES: Final[dict[str, Format]] = {
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "application/x-parquet": "parquet",
    "*/*": "json",
    "application/*": "json",
    "text/*": "csv",
}
SHAPES: Final[dict[Format, Shape]] = {
    "json": "json",
    "jsonl": "json",
    "csv": "csv",
    "parquet": "arrow",
    "arrow": "arrow",
}


def wanted(named: Format | None, accept: str | None) -> Format:
    """Return the format a request wants: that of `format`, else the best of `Accept`, else JSON.

    Raises:
        Refusal: `Accept` allows none of the formats.
    """
    if named is not None:
        return named
    if not accept or not accept.strip():
        return "json"
    known = {**ALIASES, **{media: name for name, media in MEDIA_TYPES.items()}}
    offered = [(_weight(part), part.split(";")[0].strip().lower()) for part in accept.split(",")]
    # sorted() keeps the order of those that weigh the same
    for weight, media in sorted(offered, key=lambda one: -one[0]):
        if weight > 0 and media in known:
            return known[media]
    allowed = ", ".join(MEDIA_TYPES.values())
    raise Refusal(406, f"Accept {accept[:200]!r} allows no format of this answer. Allowed: {allowed}.")


def _weight(part: str) -> float:
    for piece in part.split(";")[1:]:
        name, _, value = piece.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


class _Sink(io.RawIOBase):
    """Keeps what a writer wrote until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        found = b"".join(self._parts)
        self._parts = []
        return found


def encoded(found: Iterator[Any], kind: Format) -> Iterator[tuple[bytes, int]]:
    """Yield the parts of a file and the rows in each; `found` gives the schema first, then record batches."""
    schema = next(found)
    if kind == "jsonl":
        for batch in found:
            yield "".join(f"{valid(line)}\n" for line in batch.column(0).to_pylist()).encode(), batch.num_rows
        return
    import pyarrow as pa  # not at the start of the service: it takes longer than the first answer

    sink = _Sink()
    # PythonFile keeps the sink open when the writer closes it.
    with _writer(kind, pa.PythonFile(sink, mode="w"), schema) as writer:
        for batch in found:
            writer.write_batch(batch)
            yield sink.take(), batch.num_rows
    yield sink.take(), 0


def _writer(kind: Format, sink: Any, schema: Any) -> Any:
    if kind == "csv":
        from pyarrow import csv

        return csv.CSVWriter(sink, schema)
    if kind == "parquet":
        from pyarrow import parquet

        return parquet.ParquetWriter(sink, schema, compression="zstd")
    from pyarrow import ipc

    return ipc.new_stream(sink, schema)
