"""Tags that name their owner: a canary planted in a customer's data, and the mark that every secret carries.

A scanner needs to know this form only, never a value: what is found says itself whose it is (DESIGN, section 8).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

Kind = Literal["canary", "secret"]

MARK: Final = b"cradle-"
# An owner is a customer or, with a leading underscore, the operator.
_TAG: Final = re.compile(rb"cradle-(canary|secret):([a-z_][a-z0-9_]{0,62}):([0-9a-f]{16})")
LONGEST: Final = len(b"cradle-canary:") + 63 + len(b":") + 16


class Tag(NamedTuple):
    """A tag that was found; its value is for comparing, never for a message."""

    kind: Kind
    customer: str
    value: str


def new_canary(customer: str) -> str:
    """Make a tag for a customer's data: where it turns up, data of this customer are."""
    return _tag("canary", customer)


def new_secret_tag(owner: str) -> str:
    """Make a tag for a secret: where it turns up, a secret of this owner is."""
    return _tag("secret", owner)


def _tag(kind: Kind, owner: str) -> str:
    made = f"cradle-{kind}:{owner}:{secrets.token_hex(8)}"
    if _TAG.fullmatch(made.encode()) is None:
        raise ValueError(f"{owner!r} can't own a tag: lower case letters, digits, underscores are allowed, 63 at most")
    return made


def find_tags(data: bytes) -> Iterator[Tag]:
    """Yield every tag in some bytes."""
    at = data.find(MARK)
    while at >= 0:  # a search for plain bytes is far faster than one for a pattern
        if found := _TAG.match(data, at):
            kind, owner, value = (part.decode() for part in found.groups())
            yield Tag("canary" if kind == "canary" else "secret", owner, value)
        at = data.find(MARK, at + 1)
