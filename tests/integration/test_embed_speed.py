"""`cradle embed --benchmark`: measures on the customer's chunks or on generated ones, and leaves no trace."""

from __future__ import annotations

import pytest

from cradle.catalog import open_lake, resolve
from cradle.config import Settings
from cradle.embed.benchmark import Measured
from cradle.examples import generate
from cradle.indexing import embed_speed
from tests.nights import night

pytestmark = pytest.mark.integration


def plausible(found: Measured) -> None:
    assert found.texts > 0
    assert found.chunks_per_second == pytest.approx(found.texts / found.seconds, rel=0.2)
    assert found.tokens_per_second == pytest.approx(found.chunks_per_second * found.tokens_per_text, rel=0.01)
    assert 1 <= found.padding < 2
    assert found.share_of_peak > 0
    assert found.share_of_peak == pytest.approx(found.teraflops / found.peak_teraflops, rel=0.05)
    assert found.memory_mb > 100


def test_without_chunks_generated_texts_are_measured_and_nothing_is_made(settings: Settings) -> None:
    found = embed_speed(settings, "lightnet", 40)
    plausible(found)
    assert (found.texts_from, found.texts, found.customer) == ("generated", 40, "lightnet")
    assert not settings.lake("lightnet").exists()
    assert not settings.outcomes("lightnet").exists()


def test_the_customers_own_chunks_are_measured_and_no_vector_is_kept(settings: Settings) -> None:
    generate("demo", settings.inbox("demo"), rows=20)
    night(settings, "demo", upto="chunk")
    outcomes = len(list(settings.outcomes("demo").rglob("*")))
    found = embed_speed(settings, "demo", 15)
    plausible(found)
    assert (found.texts_from, found.texts) == ("chunks", 15)
    assert resolve(open_lake(settings, "demo"), "vectors.embeddings") is None
    assert len(list(settings.outcomes("demo").rglob("*"))) == outcomes
