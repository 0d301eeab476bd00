"""Tags: their form is found anywhere, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cradle.tags import LONGEST, find_tags, new_canary, new_secret_tag

OWNERS = st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True)


@given(OWNERS, st.binary(max_size=80), st.binary(max_size=80))
def test_a_tag_is_found_between_any_bytes_and_names_its_owner(owner: str, before: bytes, after: bytes) -> None:
    for tag, kind in ((new_canary(owner), "canary"), (new_secret_tag(owner), "secret")):
        assert len(tag) <= LONGEST
        (found,) = find_tags(before + tag.encode() + after)
        assert (found.kind, found.customer, found.value) == (kind, owner, tag.rpartition(":")[2])


@given(st.lists(OWNERS, max_size=5))
def test_every_tag_is_found_in_its_order(owners: list[str]) -> None:
    text = "cradle-".join(new_canary(owner) for owner in owners)
    assert [tag.customer for tag in find_tags(text.encode())] == owners


@pytest.mark.parametrize(
    "text",
    [
        "cradle-canary:demo:0123456789abcde",
        "cradle-canary:Demo:0123456789abcdef",
        "cradle-canary::0123456789abcdef",
        "cradle-key:demo:0123456789abcdef",
        "cradle-canary:demo:0123456789ABCDEF",
        "cradle canary:demo:0123456789abcdef",
    ],
)
def test_what_is_no_tag_is_not_found(text: str) -> None:
    assert list(find_tags(text.encode())) == []


def test_no_tag_is_made_for_what_is_no_name() -> None:
    with pytest.raises(ValueError, match="can't own a tag"):
        new_canary("Müller & Söhne")


def test_two_tags_of_one_owner_differ() -> None:
    assert new_canary("demo") != new_canary("demo")
    assert [tag.customer for tag in find_tags(new_secret_tag("_operator").encode())] == ["_operator"]
