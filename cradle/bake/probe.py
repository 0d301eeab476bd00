"""Whether encoder and vectors of an image belong together: some chunks are encoded again and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from cradle.bake.encoder import MAX_LOSS
from cradle.bake.exports import chunk_rows
from cradle.errors import VerifyFailed
from cradle.manifest import Manifest
from cradle.vectors.encoder import QueryEncoder
from cradle.vectors.flat import FlatIndex

PROBES: Final = 16
FARTHEST: Final = 3 * MAX_LOSS  # of one text; the loss is a mean over several


def check_encoder(root: Path, manifest: Manifest) -> str:
    """Encode texts from all over the corpus with the image's encoder and compare them with their vectors.

    Raises:
        VerifyFailed: a text's vector is not the one that the encoder makes of it.
    """
    entry = manifest.encoder
    if entry is None or manifest.vectors is None:
        return "none promised"
    as_passage = entry.model_copy(update={"query_prefix": entry.passage_prefix})
    try:
        encoder = QueryEncoder(root / entry.file, root / entry.tokenizer, as_passage)
    except Exception as error:
        raise VerifyFailed(f"{entry.file} or {entry.tokenizer} does not open: {error}") from error
    rows = chunk_rows(root, manifest, ("chunk_id", "document_id", "text"))
    at = np.unique(np.linspace(0, rows.num_rows - 1, PROBES).round().astype(np.int64))
    chosen = rows.take(at)
    stored = FlatIndex(*(root / part for part in manifest.vectors.parts)).at(at)
    made = np.vstack([encoder.encode(text) for text in chosen.column("text").to_pylist()])
    cosine = (stored * made).sum(1) / (np.linalg.norm(stored, axis=1) * np.linalg.norm(made, axis=1))
    near = np.nan_to_num(cosine, nan=-1.0)
    worst = int(near.argmin())
    if near[worst] < 1 - entry.loss - FARTHEST:
        raise VerifyFailed(
            f"vector {at[worst]} is not what {entry.file} makes of chunk {chosen.column('chunk_id')[worst]} (cosine "
            f"{near[worst]:.3f}): the encoder of model key {entry.model_key[:12]} or the vectors are exchanged"
        )
    return f"{len(at)} chunks encoded again, cosine {near[worst]:.4f} or more"
