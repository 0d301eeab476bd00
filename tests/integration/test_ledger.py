"""The ledger of vectors: each text of both corpora once, nothing twice, nothing of another model."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cradle import names
from cradle.catalog import open_lake, properties, read, resolve, write_once
from cradle.catalog.run import open_run
from cradle.config import Settings
from cradle.embed import load_embedder
from cradle.indexing import embed_chunks, ledger
from cradle.indexing.chunks import SCHEMA
from cradle.points import LISTENERS
from tests.nights import DAY

pytestmark = pytest.mark.integration
BOTH = "Returns are taken back within 30 days"


def chunks_of(*texts: str) -> pa.Table:
    rows = [
        {"chunk_id": f"{at}", "text": text, "content_hash": hashlib.sha256(text.encode()).hexdigest()}
        for at, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_a_text_is_embedded_once_wherever_and_however_often_it_stands(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces and parts are small, so that texts repeat within and across them, and tokens come from processes."""
    run = open_run(settings, "demo", DAY)
    corpora = {
        "marts.products_chunks": ("a lamp", BOTH, "a lamp", "two lamps, " * 30),
        "marts.general_chunks": (BOTH, "a guide", "a lamp", "more " * 90, "a guide"),
    }
    for table, texts in corpora.items():
        write_once(run.lake, table, chunks_of(*texts), step_key=table, branch=run.branch)
    monkeypatch.setattr(ledger, "PIECE", 2)
    monkeypatch.setattr(ledger, "PART", 2)
    found = embed_chunks(settings, "demo", DAY)
    distinct = sorted({text for texts in corpora.values() for text in texts})
    assert (found.chunks, found.distinct, found.embedded) == (9, len(distinct), len(distinct))
    pin = resolve(run.lake, names.LEDGER)
    assert pin is not None
    rows = read(run.lake, pin)
    kept = dict(zip(rows.column("content_hash").to_pylist(), rows.column("embedding").to_pylist(), strict=True))
    assert len(kept) == rows.num_rows == len(distinct)
    embedder = load_embedder(settings, run.installation.embedding)
    expected = embedder.encode(distinct)
    for text, vector in zip(distinct, expected, strict=True):
        np.testing.assert_array_equal(np.array(kept[hashlib.sha256(text.encode()).hexdigest()], np.float32), vector)
    assert properties(run.lake, pin)["cradle.made-by"] == embedder.made_by
    assert embed_chunks(settings, "demo", DAY).embedded == 0


def rows_of(hashes: list[str], model: str) -> np.ndarray:
    """Return a vector per hash that depends on it and on the model alone."""
    seeds = [int(hashlib.sha256(f"{model}{one}".encode()).hexdigest()[:8], 16) for one in hashes]
    return np.array([np.random.default_rng(seed).normal(size=4) for seed in seeds], np.float32)


def test_the_ledger_gives_the_vectors_asked_for_of_the_model_asked_for(settings: Settings) -> None:
    lake = open_lake(settings, "demo")
    assert ledger.ledger_rows(lake, "one", ["a"]).num_rows == 0
    heads = []
    for model, some in (("one", "abc"), ("two", "bcd"), ("one", "de")):
        part = pa.array(list(some)), rows_of(list(some), model)
        heads.append(ledger._append(lake, model, part, "a test", None))
    for model, asked, there in (("one", "aez", "ae"), ("two", "aez", ""), ("two", "dcb", "bcd"), ("one", "", "")):
        rows = ledger.ledger_rows(lake, model, list(asked))
        assert sorted(rows.column("content_hash").to_pylist()) == sorted(there)
        vectors = np.array(rows.column("embedding").to_pylist(), np.float32).reshape(-1, 4)
        np.testing.assert_array_equal(vectors, rows_of(rows.column("content_hash").to_pylist(), model).reshape(-1, 4))
    assert ledger.ledger_rows(lake, "one", ["d"], str(heads[1])).num_rows == 0
    assert ledger.known_hashes(lake, "one") == set("abcde")
    assert ledger.known_hashes(lake, "two") == set("bcd")


def test_what_another_process_embedded_meanwhile_is_left_out(settings: Settings) -> None:
    """The other commits after this one looked and before it committed."""
    lake = open_lake(settings, "demo")
    head = ledger._append(lake, "m", (pa.array(["a"]), rows_of(["a"], "m")), "first", None)

    def other(name: str) -> None:
        if name == "commit.vectors.embeddings.looked":
            LISTENERS.remove(other)
            ledger._append(open_lake(settings, "demo"), "m", (pa.array(["b"]), rows_of(["b"], "m")), "other", head)

    LISTENERS.append(other)
    ledger._append(lake, "m", (pa.array(["b", "c"]), rows_of(["b", "c"], "m")), "mine", head)
    pin = resolve(lake, names.LEDGER)
    assert pin is not None
    assert sorted(read(lake, pin).column("content_hash").to_pylist()) == ["a", "b", "c"]


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 12), st.booleans())
def test_parts_hold_every_vector_once(sizes: list[int], part: int, hurry: bool) -> None:
    """Whether a part ends by its size or by the clock, each vector stands beside the place of its text."""
    places = np.arange(sum(sizes))
    found = [(one, one[:, None].astype(np.float32)) for one in np.split(places, np.cumsum(sizes)[:-1])] if sizes else []
    parts = list(ledger._parts(iter(found), part, -1.0 if hurry else 3600.0))
    assert [at for one, _ in parts for at in one.tolist()] == places.tolist()
    assert all((vectors[:, 0] == one).all() for one, vectors in parts)
    assert all(0 < len(one) <= part for one, _ in parts)
    if not hurry:
        assert all(len(one) == part for one, _ in parts[:-1])
