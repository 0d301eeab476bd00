"""How fast a customer's chunks would be embedded here; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from cradle.catalog import open_lake, read, resolve
from cradle.chunk import chunk_document
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.embed.benchmark import Measured, measure_embedding
from cradle.examples.lightnet import catalogue_parts, part_rows
from cradle.examples.lightnet_words import ATTRIBUTES
from cradle.indexing.chunks import CORPORA

SEED: Final = 42
SHOWN: Final = 20  # attributes in a generated text


class EmbedSpeed(Measured):
    """What was measured, and on which texts."""

    customer: str
    texts_from: str


def embed_speed(settings: Settings, customer: str, count: int) -> EmbedSpeed:
    """Measure on distinct chunks of the customer, else on generated texts of a lighting catalogue.

    Raises:
        ConfigError: the model's files are not there.
    """
    installation = load_customer(settings.customers, customer).installation
    texts, source = _chunks(settings, customer, count), "chunks"
    if not texts:
        texts, source = catalogue_texts(count, installation.chunking.max_chars), "generated"
    found = measure_embedding(settings, installation.embedding, texts)
    return EmbedSpeed(customer=customer, texts_from=source, **found.model_dump())


def _chunks(settings: Settings, customer: str, count: int) -> list[str]:
    """Return distinct chunks of the customer, from all over its corpora."""
    if settings.catalog == "embedded" and not settings.lake(customer).exists():
        return []  # opening would make one
    lake = open_lake(settings, customer)
    texts: list[str] = []
    for chunks, _, _ in CORPORA.values():
        pin = resolve(lake, chunks)
        if pin is not None and pin.rows:
            texts += read(lake, pin, ("text",)).column(0).unique().to_pylist()
    return spread(texts, count)


def spread(texts: list[str], count: int) -> list[str]:
    """Return at most so many texts, at equal distances."""
    if len(texts) <= count:
        return texts
    return [texts[at] for at in np.linspace(0, len(texts) - 1, count).astype(int)]


def catalogue_texts(count: int, max_chars: int = 800) -> list[str]:
    """Return at most so many distinct texts of a generated lighting catalogue."""
    found: dict[str, None] = {}
    for text in _documents(count):
        for chunk in chunk_document("generated", text, max_chars=max_chars):
            found[chunk.text] = None
    return spread(list(found), count)


def _documents(count: int) -> Iterator[str]:
    names = [name for name, *_ in ATTRIBUTES]
    texts = [names.index(name) for name in ("description_de", "description_en")]
    listed = [at for at, name in enumerate(names) if name != "name" and at not in texts][:SHOWN]
    for part in catalogue_parts(SEED, count):
        for row in part_rows(SEED, part):
            facts = "\n".join(f"- {ATTRIBUTES[at][1]}: {row[at]}" for at in listed if row[at])
            yield "\n\n".join(filter(None, (f"# {row[names.index('name')]}", *(row[at] for at in texts), facts)))
