"""What an image holds beside tables and vectors: the customer's originals and the release notes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from cradle.bake import originals
from cradle.errors import VerifyFailed
from cradle.manifest import Manifest


def check_enclosed(root: Path, manifest: Manifest) -> str:
    """Compare the originals with the table of documents, and the notes with the release that they are of.

    Raises:
        VerifyFailed: an original is another file than the document's, or the notes are about something else.
    """
    if manifest.originals:
        rows = pq.read_table(root / manifest.tables["marts.general_documents"].file, columns=list(originals.COLUMNS))
        known = originals.entries(rows.to_pylist())
        wrong = sorted(
            one for one in known.keys() | manifest.originals if known.get(one) != manifest.originals.get(one)
        )
        if wrong:
            raise VerifyFailed(f"the original of document {wrong[0]} is not the file that the table of documents names")
        for entry in manifest.originals.values():
            if manifest.files[entry.file].sha256 != Path(entry.file).name:
                raise VerifyFailed(f"{entry.file} ({entry.name}) is not the file that was delivered")
    if manifest.notes:
        notes = json.loads((root / manifest.notes.file).read_bytes())
        if (notes is None) != (manifest.notes.since is None):
            raise VerifyFailed(f"{manifest.notes.file} tells of another release than {manifest.notes.since}")
    return f"{len(manifest.originals)} originals"
