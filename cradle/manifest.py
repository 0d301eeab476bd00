"""The release manifest: the contract between bake, which writes it, and verify and serve, which read it.

One canonical JSON form: sorted keys, no spaces, UTF-8. No path or name of a machine stands in it.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cradle.errors import VerifyFailed
from cradle.installation import GoldenQuestion

FILE: Final = "manifest.json"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Model):
    """A file of the image: its SHA-256 (hex) and its size."""

    sha256: str
    bytes: int


class ColumnEntry(_Model):
    """A column as DuckDB names its type."""

    name: str
    type: str
    description: str = ""
    unit: str | None = None


class TableEntry(_Model):
    """A table of the image and where it came from; `metadata_location` is relative to the customer's lake."""

    file: str
    rows: int
    key: tuple[str, ...]
    key_index: str | None
    columns: tuple[ColumnEntry, ...]
    content_digest: str
    snapshot_id: int
    metadata_location: str


class VectorsEntry(_Model):
    """The flat index and the index of words, in parts; row i of all parts together is row i of `chunks`."""

    parts: tuple[str, ...]
    words: tuple[str, ...] = Field(default=(), description="None: baked before images had an index of words.")
    chunks: str
    count: int
    dimension: int
    collection_digest: str
    ledger_snapshot_id: int


class EncoderEntry(_Model):
    """The query encoder; `loss` is 1 - mean cosine against the factory's encoder."""

    model: str
    revision: str
    model_key: str
    file: str
    tokenizer: str
    query_prefix: str
    passage_prefix: str = ""
    max_tokens: int
    normalize: bool
    loss: float


class OriginalEntry(_Model):
    """A document's original file, as the customer delivered it."""

    file: str
    name: str
    media_type: str


class NotesEntry(_Model):
    """The release notes: what changed since another release; none: this is the first."""

    file: str
    since: str | None


class Manifest(_Model):
    """All that a release's image promises."""

    format: Literal[2] = 2
    customer: str
    environment: str
    release_id: str
    logical_date: date
    created_at: str
    epoch: int
    params_hash: str
    code_version: str
    content_digest: str
    base: str | None = Field(description="Digest of the base image; none: the image holds data alone.")
    port_base: int = Field(description="API at + 2, dashboards at + 3.")
    tables: dict[str, TableEntry]
    vectors: VectorsEntry | None
    encoder: EncoderEntry | None
    originals: dict[str, OriginalEntry] = Field(default={}, description="By document id.")
    notes: NotesEntry | None
    golden: tuple[GoldenQuestion, ...]
    files: dict[str, FileEntry]

    def canonical(self) -> bytes:
        """Return the canonical JSON form."""
        content = self.model_dump(mode="json")
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of an unpacked image.

    Raises:
        VerifyFailed: it is missing or not a manifest of a known format.
    """
    path = root / FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise VerifyFailed(f"{root} holds no {FILE}: not an unpacked image. Run `cradle verify <customer>`.") from error
    except ValidationError as error:
        raise VerifyFailed(f"{path} is damaged or of an unknown format: {error.errors()[0]['msg']}.") from error
