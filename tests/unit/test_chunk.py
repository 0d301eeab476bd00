"""Chunks: nothing is lost, nothing is too long, and a change moves only what it touches."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from cradle.chunk import chunk_document

words = st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=12)
lines = st.one_of(
    words,
    st.lists(words, max_size=30).map(" ".join),
    st.builds("{} {}".format, st.sampled_from(["#", "##", "###"]), words),
    st.lists(words, min_size=2, max_size=4).map(lambda cells: "| " + " | ".join(cells) + " |"),
    st.just("|---|---|"),
    st.just(""),
)
documents = st.lists(lines, max_size=25).map("\n".join)


def letters(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@given(text=documents, size=st.integers(100, 400), overlap=st.integers(0, 80))
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_and_nothing_is_too_long(text: str, size: int, overlap: int) -> None:
    chunks = chunk_document("doc", text, max_chars=size, overlap_chars=overlap)
    whole = " ".join(chunk.text for chunk in chunks)
    assert letters(text) <= letters(whole)
    for chunk in chunks:
        body = chunk.text.removeprefix(chunk.heading).strip("\n")
        assert len(body) <= size
        assert chunk.text.strip()
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)
    assert chunks == chunk_document("doc", text, max_chars=size, overlap_chars=overlap)


def test_a_chunk_carries_the_path_of_its_headings() -> None:
    chunks = chunk_document("d", "# Lamp\n\nIntro.\n\n## Mounting\n\nTwo screws.\n\n# Other\n\nEnd.", max_chars=200)
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [
        ("Lamp", "Lamp\n\nIntro."),
        ("Lamp › Mounting", "Lamp › Mounting\n\nTwo screws."),
        ("Other", "Other\n\nEnd."),
    ]


def test_text_that_is_put_in_renames_no_other_chunk() -> None:
    text = "\n\n".join(f"## Part {number}\n\nSentence {number}." for number in range(6))
    before = {chunk.chunk_id for chunk in chunk_document("d", text, max_chars=200)}
    after = {chunk.chunk_id for chunk in chunk_document("d", "## New\n\nFirst of all.\n\n" + text, max_chars=200)}
    assert before < after
    assert len(after - before) == 1


def test_a_long_table_repeats_its_head() -> None:
    rows = "\n".join(f"| region {number} | {number} days |" for number in range(40))
    chunks = chunk_document("d", f"| region | days |\n|---|---|\n{rows}", max_chars=200)
    assert len(chunks) > 3
    assert all(chunk.text.startswith("| region | days |\n|---|---|\n") for chunk in chunks)


def test_equal_text_of_two_documents_has_one_content_hash_and_two_ids() -> None:
    (one,), (two,) = (chunk_document(name, "Same words.", max_chars=100) for name in ("a", "b"))
    assert one.content_hash == two.content_hash
    assert one.chunk_id != two.chunk_id
