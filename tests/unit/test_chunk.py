"""Chunks: nothing is lost, nothing is too long, and a change moves only what it touches."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cradle.chunk import HEADING_CHARS, chunk_document

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
lines = st.one_of(
    words,
    st.lists(words, max_size=30).map(" ".join),
    st.builds("{} {}".format, st.sampled_from(["#", "##", "###"]), words),
    st.builds("# {}".format, st.lists(words, max_size=40).map(" ".join)),
    st.lists(words, min_size=2, max_size=4).map(lambda cells: "| " + " | ".join(cells) + " |"),
    st.just("|---|---|"),
    st.text("# |-\n\r\tab.", max_size=20),
    st.just(""),
)
documents = st.lists(lines, max_size=25).map("\n".join)
plain = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="#|"), max_size=300), max_size=8)


def signs(text: str) -> Counter[str]:
    """Count every character that is neither white space nor `#`."""
    return Counter(sign for sign in text if not sign.isspace() and sign != "#")


@given(text=documents, size=st.integers(100, 400), overlap=st.integers(0, 80))
@example(text="# C# and F#\n\nx", size=100, overlap=0)
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_and_nothing_is_too_long(text: str, size: int, overlap: int) -> None:
    chunks = chunk_document("doc", text, max_chars=size, overlap_chars=overlap)
    whole = " ".join(chunk.text for chunk in chunks)
    assert signs(text) <= signs(whole)
    for chunk in chunks:
        body = chunk.text.removeprefix(chunk.heading).strip("\n")
        assert len(body) <= size
        assert all(len(name) <= HEADING_CHARS for name in chunk.heading.split(" › "))
        assert chunk.text.strip()
        assert chunk.content_hash == hashlib.sha256(chunk.text.encode()).hexdigest()
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)
    assert chunks == chunk_document("doc", text, max_chars=size, overlap_chars=overlap)


@given(paragraphs=plain, size=st.integers(100, 400))
@settings(max_examples=200, deadline=None)
def test_plain_text_without_overlap_stands_once_and_in_its_order(paragraphs: list[str], size: int) -> None:
    text = "\n\n".join(paragraphs)
    chunks = chunk_document("doc", text, max_chars=size)
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())


@given(text=st.lists(st.text("abcdefgh.!?|-\n", min_size=1, max_size=25), max_size=120).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_a_word_that_fits_is_never_cut(text: str) -> None:
    chunks = chunk_document("doc", text, max_chars=100, overlap_chars=30)
    assert set(text.split()) <= {word for chunk in chunks for word in chunk.text.split()}


@given(
    sentences=st.lists(st.text("abc ", min_size=5, max_size=60).map(lambda s: f"x{s}x."), min_size=8, max_size=30),
    overlap=st.integers(0, 90),
)
@settings(max_examples=100, deadline=None)
def test_pieces_of_a_long_paragraph_share_at_most_the_overlap(sentences: list[str], overlap: int) -> None:
    text = " ".join(sentences)
    chunks = chunk_document("doc", text, max_chars=200, overlap_chars=overlap)
    assert sum(len("".join(chunk.text.split())) for chunk in chunks) <= len("".join(text.split())) + overlap * (
        len(chunks) - 1
    )


def test_a_sentence_at_the_border_stands_in_both_pieces() -> None:
    text = " ".join(f"This is the sentence with the number {number}." for number in range(10))
    chunks = chunk_document("doc", text, max_chars=140, overlap_chars=60)
    for one, two in itertools.pairwise(chunks):
        last = re.findall(r"This[^.]*\.", one.text)[-1]
        assert two.text.startswith(last)


def test_a_chunk_carries_the_path_of_its_headings() -> None:
    chunks = chunk_document("d", "# Lamp\n\nIntro.\n\n## Mounting\n\nTwo screws.\n\n# Other\n\nEnd.", max_chars=200)
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [
        ("Lamp", "Lamp\n\nIntro."),
        ("Lamp › Mounting", "Lamp › Mounting\n\nTwo screws."),
        ("Other", "Other\n\nEnd."),
    ]


def test_a_heading_keeps_its_own_signs_and_loses_those_that_close_it() -> None:
    chunks = chunk_document("d", "# C#\n\nOne.\n\n## Closed ##\n\nTwo.", max_chars=200)
    assert [chunk.heading for chunk in chunks] == ["C#", "C# › Closed"]


def test_a_paragraph_that_looks_like_a_heading_is_not_repeated_in_every_chunk() -> None:
    """A converter may put a whole page behind one `#`; as a heading it would drown what stands below it."""
    chunks = chunk_document("d", "# " + "long " * 500 + "\n\nBelow.", max_chars=200)
    assert all(len(chunk.text) <= 200 for chunk in chunks)
    assert chunks[-1].text.endswith("Below.")


def test_text_that_is_put_in_renames_no_other_chunk() -> None:
    text = "\n\n".join(f"## Part {number}\n\nSentence {number}." for number in range(6))
    before = {chunk.chunk_id for chunk in chunk_document("d", text, max_chars=200)}
    after = {chunk.chunk_id for chunk in chunk_document("d", "## New\n\nFirst of all.\n\n" + text, max_chars=200)}
    assert before < after
    assert len(after - before) == 1


def test_equal_sections_of_one_document_have_ids_of_their_own() -> None:
    chunks = chunk_document("d", "## Same\n\nText.\n\n## Other\n\nText.\n\n## Same\n\nText.", max_chars=200)
    assert len({chunk.content_hash for chunk in chunks}) == 2
    assert len({chunk.chunk_id for chunk in chunks}) == 3


def test_a_long_table_repeats_its_head() -> None:
    rows = "\n".join(f"| region {number} | {number} days |" for number in range(40))
    chunks = chunk_document("d", f"| region | days |\n|---|---|\n{rows}", max_chars=200)
    assert len(chunks) > 3
    assert all(chunk.text.startswith("| region | days |\n|---|---|\n") for chunk in chunks)


def test_equal_text_of_two_documents_has_one_content_hash_and_two_ids() -> None:
    (one,), (two,) = (chunk_document(name, "Same words.", max_chars=100) for name in ("a", "b"))
    assert one.content_hash == two.content_hash
    assert one.chunk_id != two.chunk_id


def test_an_empty_text_has_no_chunk() -> None:
    assert chunk_document("d", " \n\t\n", max_chars=100) == []
