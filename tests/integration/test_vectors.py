"""Collections, the flat index and the ledger: whole, verified, and made once."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from cradle.catalog import open_lake, read, resolve, write_once
from cradle.catalog.run import open_run
from cradle.chunk import Chunk
from cradle.config import PROJECT, Settings
from cradle.digest import canonical_hash
from cradle.errors import MissingStep, VerifyFailed
from cradle.examples import generate
from cradle.indexing import chunk_documents, chunks, embed_chunks, index_chunks, ledger
from cradle.points import LISTENERS
from cradle.vectors import collection
from cradle.vectors.collection import build_collection, committed, folder_of, private_copy
from cradle.vectors.digest import METADATA, collection_digest
from cradle.vectors.flat import FlatIndex, write_flat
from tests.nights import DAY, night

pytestmark = pytest.mark.integration
DIMENSION = 8


def unit(count: int, seed: int = 1) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def some_rows(count: int = 60, seed: int = 1) -> pa.Table:
    """Return chunks with vectors; every third has no title and no heading."""
    names = [hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:32] for number in range(count)]
    return pa.table(
        {
            "chunk_id": names,
            "content_hash": [f"hash {number % 40}" for number in range(count)],
            "text": [f"Größe {number}" for number in range(count)],
            "corpus": ["products" if number % 2 else "general" for number in range(count)],
            "document_id": [f"d{number % 7}" for number in range(count)],
            "position": pa.array(range(count), pa.int32()),
            "heading": pa.array([None if number % 3 else "Head" for number in range(count)], pa.string()),
            "title": pa.array([None if number % 3 else "Title" for number in range(count)], pa.string()),
            "embedding": pa.array(list(unit(count, seed)), pa.list_(pa.float32())),
        }
    )


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(settings: Settings) -> list[str]:
    """Return what lies beside the collections."""
    folder = settings.files("demo") / "collections"
    return sorted(path.name for path in folder.iterdir() if len(path.name) != 64)


def verify(settings: Settings, digest: str, rows: pa.Table) -> None:
    """Open a private copy of a collection in a fresh process and compare it with its rows."""
    with private_copy(folder_of(settings, "demo", digest)) as copy:
        give(copy, rows)
        done = subprocess.run(
            [sys.executable, "-m", "cradle.vectors.chroma", "check", str(copy)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr


def give(folder: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def test_a_collection_is_built_once_and_reading_does_not_change_it(settings: Settings) -> None:
    rows = some_rows()
    made, built = build_collection(settings, "demo", rows, "model")
    assert (built, made.count, made.dimension) == (True, 60, DIMENSION)
    folder = folder_of(settings, "demo", made.digest)
    before = files(folder)
    assert "rows.arrow" not in before
    assert build_collection(settings, "demo", rows.take(list(range(59, -1, -1))), "model") == (made, False)
    verify(settings, made.digest, rows)
    assert files(folder) == before
    assert hidden(settings) == []


def test_an_empty_collection_is_one_too(settings: Settings) -> None:
    made, built = build_collection(settings, "demo", some_rows().slice(0, 0), "model")
    assert (built, made.count, made.dimension) == (True, 0, 0)


@given(st.data())
@hypothesis(max_examples=60, deadline=None)
def test_whatever_a_collection_holds_decides_its_digest(data: st.DataObject) -> None:
    rows = some_rows(9)
    order = data.draw(st.permutations(range(9)))
    digest = collection_digest(rows, "model")
    assert collection_digest(rows.take(order), "model") == digest
    assert collection_digest(rows, "other") != digest
    name = data.draw(st.sampled_from([one for one in rows.column_names if one != "text"]))  # its hash stands for it
    values = rows.column(name).to_pylist()
    at = data.draw(st.integers(0, 8))
    values[at] = changed(values[at])
    place = rows.column_names.index(name)
    field = rows.schema.field(name)
    assert collection_digest(rows.set_column(place, field, pa.array(values, field.type)), "model") != digest
    assert collection_digest(rows.slice(0, 8), "model") != digest


@given(
    text=st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=("Cs",)), max_size=20)), max_size=12),
    seed=st.integers(0),
)
@hypothesis(max_examples=60, deadline=None)
def test_the_digest_is_that_of_each_row_in_its_canonical_form(text: list[str | None], seed: int) -> None:
    """Against the form that is written down: row by row, in plain Python."""
    rows = some_rows(max(len(text), 1), seed % 100)
    headings = [one and one.replace("\x00", "") for one in text] or [None]
    rows = rows.set_column(rows.column_names.index("heading"), "heading", pa.array(headings, pa.string()))
    whole = hashlib.sha256()
    for row in sorted(rows.to_pylist(), key=lambda one: one["chunk_id"]):
        told = {name: row[name] for name in ("chunk_id", "content_hash", *METADATA)}
        whole.update(canonical_hash(told).encode())
        whole.update(np.array(row["embedding"], np.float32).tobytes())
    assert collection_digest(rows, "model") == canonical_hash({"model_key": "model", "rows": whole.hexdigest()})


def changed(value: object) -> object:
    if isinstance(value, list):
        return [*value[:-1], float(np.nextafter(np.float32(value[-1]), np.float32(9)))]
    return value + 1 if isinstance(value, int) else f"{value} x"


@pytest.mark.parametrize("damage", ["missing", "more", "vector", "not a number"])
def test_a_collection_that_differs_from_its_rows_is_never_taken_into_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The rows change between the build and the check, as a store would that lost or bent something."""
    rows = some_rows(30)
    vectors = rows.column("embedding").to_pylist()
    vectors[7] = changed(vectors[7]) if damage != "not a number" else [float("nan")] * DIMENSION
    bent = rows.set_column(8, "embedding", pa.array(vectors, pa.list_(pa.float32())))
    given_then = {"missing": some_rows(31), "more": rows.slice(1), "vector": bent, "not a number": bent}[damage]
    real = collection._child

    def child(verb: str, folder: Path, held: int) -> None:
        if verb == "check":
            give(folder, given_then)
        real(verb, folder, held)  # type: ignore[arg-type]

    monkeypatch.setattr(collection, "_child", child)
    with pytest.raises(VerifyFailed, match=r"could not be verified: .*(30 ids|vectors).*Run the same command again"):
        build_collection(settings, "demo", rows, "model")
    assert [*(settings.files("demo") / "collections").iterdir()] == []


def test_two_builders_at_once_are_both_right(settings: Settings) -> None:
    rows = some_rows(30)
    barrier = threading.Barrier(2, timeout=120)

    def wait(name: str) -> None:
        if name == "collection.before":
            barrier.wait()

    done: list[tuple[collection.Collection, bool]] = []
    LISTENERS.append(wait)
    try:
        threads = [
            threading.Thread(target=lambda: done.append(build_collection(settings, "demo", rows, "model")))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    finally:
        LISTENERS.remove(wait)
    assert sorted(built for _, built in done) == [False, True]
    assert done[0][0] == done[1][0]
    verify(settings, done[0][0].digest, rows)
    assert hidden(settings) == []


CHILD = """
import json, os, signal, sys
from pathlib import Path
from cradle.config import Settings
from cradle.points import LISTENERS
from cradle.vectors.collection import build_collection
from tests.integration.test_vectors import some_rows
home, at = json.loads(sys.argv[1])
LISTENERS.append(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == at else None)
build_collection(Settings(home=Path(home)), "demo", some_rows(), "model")
"""


def builder(settings: Settings, at: str = "") -> subprocess.Popen[bytes]:
    """Start a build in a process group of its own, which kills itself at the named point."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps([str(settings.home), at])],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def whole_or_absent(settings: Settings) -> bool:
    """Check that no folder bears a digest's name without being that collection; return whether it is there."""
    rows = some_rows()
    folder = folder_of(settings, "demo", collection_digest(rows, "model"))
    if not folder.exists():
        return False
    found = committed(folder)
    assert found is not None
    verify(settings, found.digest, rows)
    return True


@pytest.mark.parametrize("at", ["built", "checked", "before", "after"])
def test_a_build_killed_at_a_point_leaves_all_or_nothing(settings: Settings, at: str) -> None:
    one = builder(settings, f"collection.{at}")
    one.communicate(timeout=300)
    assert one.returncode == -signal.SIGKILL
    assert whole_or_absent(settings) == (at == "after")
    assert build_collection(settings, "demo", some_rows(), "model")[1] == (at != "after")
    assert whole_or_absent(settings)
    with private_copy(folder_of(settings, "demo", collection_digest(some_rows(), "model"))):
        pass  # whoever works there next takes away what the killed one left
    assert hidden(settings) == []


@given(
    count=st.integers(1, 300),
    k=st.integers(1, 45),
    every=st.integers(1, 120),
    seed=st.integers(0),
    threads=st.integers(1, 2),
)
@hypothesis(max_examples=40, deadline=None)
def test_the_flat_index_answers_as_brute_force_does(
    tmp_path_factory: pytest.TempPathFactory, count: int, k: int, every: int, seed: int, threads: int
) -> None:
    """Over two files, unfiltered, and with filters that let few or many rows pass."""
    folder = tmp_path_factory.mktemp("flat")
    vectors, queries = unit(count, seed), unit(3, seed + 1)
    for name in ("one", "two"):
        write_flat(folder / name, vectors)
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    write_flat(folder / "first", vectors[: count // 3])
    write_flat(folder / "rest", vectors[count // 3 :])
    index = FlatIndex(folder / "first", folder / "rest", threads=threads)
    assert (index.count, index.dimension) == (count, DIMENSION)
    half = vectors.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(index.vectors(), half)
    some = np.arange(0, count, every)
    np.testing.assert_allclose(index.scores(queries[0], some), half[some] @ queries[0], atol=1e-5)
    few, none = np.isin(np.arange(count), some), np.zeros(count, bool)
    for allow in (None, few, ~few, none):
        scores, rows = index.search(queries, k, allow)
        among = list(range(count)) if allow is None else np.flatnonzero(allow).tolist()
        size = min(k, len(among))
        assert (rows[:, size:] == -1).all()
        assert all(set(found) <= set(among) for found in rows[:, :size].tolist())
        exact = -np.sort(-(queries @ half[among].T), axis=1)[:, :size]
        np.testing.assert_allclose(scores[:, :size], exact, atol=1e-5)


def held(settings: Settings, digest: str) -> list[tuple[str, bytes, str, dict[str, object]]]:
    """Return what a private copy of a collection holds, read by Chroma itself."""
    import chromadb

    with private_copy(folder_of(settings, "demo", digest)) as copy:
        collection = chromadb.PersistentClient(str(copy / "store")).get_collection("chunks", embedding_function=None)
        stored = collection.get(include=["embeddings", "documents", "metadatas"])
        nearest = collection.query(query_embeddings=unit(5, 99), n_results=5)["ids"]
    vectors = [np.asarray(one, np.float32).tobytes() for one in stored["embeddings"]]
    rows = sorted(zip(stored["ids"], vectors, stored["documents"], stored["metadatas"], strict=True))
    return [*rows, ("nearest", b"", str(nearest), {})]


def next_rows(rows: pa.Table, gone: int, new: int, told: int) -> pa.Table:
    """Return rows of which some are gone, some are new, and some have another title."""
    titles = rows.column("title").to_pylist()
    titles[len(titles) - told :] = [f"other {at}" for at in range(told)]
    kept = rows.set_column(rows.column_names.index("title"), "title", pa.array(titles, pa.string())).slice(gone)
    return pa.concat_tables([kept, some_rows(new, seed=5)]) if new else kept


@pytest.mark.parametrize(
    ("gone", "new", "told", "how"),
    [
        (5, 0, 0, "changed"),
        (0, 7, 0, "changed"),
        (0, 0, 4, "changed"),
        (5, 7, 4, "changed"),
        (30, 0, 0, "built"),  # too many deleted
        (0, 90, 0, "built"),  # most of it is new
    ],
)
def test_a_changed_collection_is_what_a_rebuild_gives(
    settings: Settings, tmp_path: Path, gone: int, new: int, told: int, how: str
) -> None:
    first, _ = build_collection(settings, "demo", some_rows(), "model")
    before = files(folder_of(settings, "demo", first.digest))
    rows = next_rows(some_rows(), gone, new, told)
    ways: list[str] = []
    LISTENERS.append(ways.append)
    try:
        made, built = build_collection(settings, "demo", rows, "model", first.digest)
    finally:
        LISTENERS.remove(ways.append)
    assert built
    assert [one for one in ways if one in ("collection.changed", "collection.built")] == [f"collection.{how}"]
    other = settings.model_copy(update={"home": tmp_path / "other"})
    assert build_collection(other, "demo", rows, "model") == (made, True)
    assert held(settings, made.digest) == held(other, made.digest)
    assert files(folder_of(settings, "demo", first.digest)) == before
    assert hidden(settings) == []


def test_deletions_add_up_until_a_collection_is_built_whole(settings: Settings) -> None:
    rows, before, ways = some_rows(), None, list[str]()
    LISTENERS.append(ways.append)
    try:
        for _ in range(4):
            before = build_collection(settings, "demo", rows, "model", before)[0].digest
            rows = rows.slice(5)
    finally:
        LISTENERS.remove(ways.append)
    done = [one for one in ways if one in ("collection.changed", "collection.built")]
    assert done == ["collection.built", "collection.changed", "collection.changed", "collection.built"]


def test_a_collection_made_of_a_damaged_one_is_built_whole(settings: Settings) -> None:
    first, _ = build_collection(settings, "demo", some_rows(), "model")
    (folder_of(settings, "demo", first.digest) / "store" / "chroma.sqlite3").write_bytes(b"no database")
    rows = next_rows(some_rows(), 3, 3, 0)
    made, built = build_collection(settings, "demo", rows, "model", first.digest)
    assert built
    verify(settings, made.digest, rows)
    assert hidden(settings) == []


def test_only_changed_documents_are_cut_and_the_chunks_are_those_of_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate("demo", settings.inbox("demo"), rows=20)
    night(settings, "demo", upto="release")
    pages = sorted((settings.inbox("demo") / "documents").glob("*.md"))
    pages[0].write_text(f"{pages[0].read_text(encoding='utf-8')}\n\nOne more paragraph.\n", encoding="utf-8")
    pages[1].unlink()
    (pages[0].parent / "new.md").write_text("# New\n\nA new page.\n", encoding="utf-8")
    cut: list[str] = []
    real = chunks.chunk_document

    def counted(document_id: str, text: str, **sizes: int) -> list[Chunk]:
        cut.append(document_id)
        return real(document_id, text, **sizes)

    monkeypatch.setattr(chunks, "chunk_document", counted)
    later = DAY + timedelta(days=1)
    night(settings, "demo", later, upto="chunk")
    assert 1 <= len(cut) <= 3
    monkeypatch.undo()
    run = open_run(settings, "demo", later)
    for table, (made, _, _) in chunks.CORPORA.items():
        source, pin = (resolve(run.lake, one, run.branch) for one in (table, made))
        assert source is not None
        assert pin is not None
        whole = chunks._cut(run, chunks._described(read(run.lake, source)))
        assert read(run.lake, pin).cast(chunks.SCHEMA).equals(whole)


def test_rows_chosen_before_another_writer_came_are_chosen_again(settings: Settings) -> None:
    """Between a look at the ledger and the commit another process appends: no hash may stand twice."""
    lake = open_lake(settings, "demo")
    calls = []

    def rows(*values: int) -> pa.Table:
        return pa.table({"k": pa.array(values, pa.int64())})

    def known() -> set[int]:
        pin = resolve(lake, "vectors.t")
        return set(read(lake, pin).column("k").to_pylist()) if pin and pin.rows else set()

    def missing() -> pa.Table | None:
        keep = sorted({1, 2, 3} - known())
        calls.append(keep)
        if len(calls) == 1:
            write_once(open_lake(settings, "demo"), "vectors.t", rows(2), step_key="other", mode="append")
        return rows(*keep) if keep else None

    write_once(lake, "vectors.t", missing, step_key="mine", mode="append")
    pin = resolve(lake, "vectors.t")
    assert pin is not None
    assert sorted(read(lake, pin).column("k").to_pylist()) == [1, 2, 3]
    assert calls[-1] == [1, 3]


def test_embedding_goes_on_where_it_was_interrupted_and_no_text_is_embedded_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate("demo", settings.inbox("demo"), rows=20)
    night(settings, "demo", upto="chunk")
    with pytest.raises(MissingStep, match=r"have no vector. Run `cradle embed demo --date 2024-04-01`"):
        index_chunks(settings, "demo", DAY)
    monkeypatch.setattr(ledger, "PART", 3)
    commits = []

    def die(name: str) -> None:
        if name == "commit.vectors.embeddings.before":
            commits.append(name)
            if len(commits) == 3:
                raise KeyboardInterrupt

    LISTENERS.append(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            embed_chunks(settings, "demo", DAY)
    finally:
        LISTENERS.remove(die)
    resumed = embed_chunks(settings, "demo", DAY)
    assert resumed.reused == 6
    assert resumed.embedded == resumed.distinct - 6 > 0
    again = embed_chunks(settings, "demo", DAY)
    assert (again.embedded, again.reused) == (0, resumed.distinct)
    run = open_run(settings, "demo", DAY)
    pin = resolve(run.lake, "vectors.embeddings")
    assert pin is not None
    hashes = read(run.lake, pin).column("content_hash").to_pylist()
    assert len(hashes) == len(set(hashes)) == resumed.distinct

    first = index_chunks(settings, "demo", DAY)
    assert (first.built, first.count, first.model_key) == (True, resumed.chunks, resumed.model_key)
    second = index_chunks(settings, "demo", DAY)
    assert (second.built, second.digest) == (False, first.digest)
    assert chunk_documents(settings, "demo", DAY).written == ()


def test_a_customer_without_documents_gets_an_empty_collection(
    settings: Settings, write_customer: Callable[[str, str], Path]
) -> None:
    text = (settings.customers / "demo.yaml").read_text()
    start, end, stop = text.index("    - name: products"), text.index("  chunking:"), text.index("  image:")
    write_customer("sales", text[:start].replace("customer: demo", "customer: sales") + text[end:stop])
    generate("demo", settings.inbox("sales"), rows=20)
    night(settings, "sales", upto="index")
    assert chunk_documents(settings, "sales", DAY).chunks == {}
    assert embed_chunks(settings, "sales", DAY).distinct == 0
    found = index_chunks(settings, "sales", DAY)
    assert (found.count, found.dimension, found.built) == (0, 0, False)
