"""The scans of `cradle verify`: whose data and whose secrets are in an image, by form and not by value.

A canary or a secret tag names its owner (cradle.tags); keys that carry no tag are known by their usual forms.
What was found is named by file and place; the value itself is never repeated.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cradle.bake.texts import Part, decoded_parts, kind_of, raw_parts
from cradle.errors import VerifyFailed
from cradle.tags import find_tags

# Detectors that take hashes, order numbers or article numbers of ordinary data for keys.
UNSUITED: Final = ("artifactory", "base", "high_entropy_strings", "ip_public", "keyword")
ORIGINALS: Final = "originals/"  # as the customer delivered them
NAMED: Final = 5  # findings that a message names
BUNCH: Final = 8 << 20  # bytes of values that are looked at together


class Finding(BaseModel):
    """Something that must not be in an image: what, whose (empty when it does not say), and where."""

    model_config = ConfigDict(frozen=True)

    file: str
    kind: str
    owner: str
    where: str

    def __str__(self) -> str:
        """Return it as a line of a message."""
        owner = f" of {self.owner}" if self.owner else ""
        return f"{self.file}: {self.kind}{owner} ({self.where})"


def leaks(root: Path, customer: str) -> list[Finding]:
    """Return foreign canaries and all secret tags in the files of an image, each once per file and place.

    Raises:
        VerifyFailed: a file can't be looked into.
    """
    found: dict[Finding, None] = {}
    for path in _files(root, ()):
        name = path.relative_to(root).as_posix()
        for part in _leak_parts(path, name):
            for tag in find_tags(_bytes_of(part.values)):
                if tag.kind == "secret" or tag.customer != customer:
                    kind = "tag of a secret" if tag.kind == "secret" else "canary"
                    found[Finding(file=name, kind=kind, owner=tag.customer, where=part.where)] = None
    return list(found)


def _leak_parts(path: Path, name: str) -> Iterator[Part]:
    yield Part("name of the file", pa.array([name.encode()], pa.binary()))
    yield from raw_parts(path)
    yield from decoded_parts(path, strict=not name.startswith(ORIGINALS))


def _bytes_of(values: Any) -> bytes:
    """Return all values of an array in one piece."""
    data = values.buffers()[2]
    return data.to_pybytes() if data is not None else b""


def secrets(root: Path, skip: Iterable[str] = ()) -> list[Finding]:
    """Return what has the form of a key, password or token, in texts and in the texts of tables.

    Args:
        skip: files that are not looked at, relative to the root.

    Raises:
        VerifyFailed: a file can't be looked into.
    """
    found: dict[Finding, None] = {}
    for path in _files(root, skip):
        name = path.relative_to(root).as_posix()
        for part in _likely(_secret_parts(path, name)):
            for kind in _secret_kinds(part.values):
                found[Finding(file=name, kind=kind, owner="", where=part.where)] = None
    return list(found)


def _secret_parts(path: Path, name: str) -> Iterator[Part]:
    if kind_of(path) == "text":
        return raw_parts(path)
    return decoded_parts(path, strict=not name.startswith(ORIGINALS))


def _files(root: Path, skip: Iterable[str]) -> list[Path]:
    left_out = {root / one for one in skip}
    return sorted(path for path in root.rglob("*") if path.is_file() and path not in left_out)


def _likely(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts that pass the sieve; small ones share a look, because each look has its price."""
    bunch: list[Part] = []
    size = 0
    for part in chain(parts, [None]):
        if part is not None:
            bunch.append(part)
            size += part.values.nbytes
        if bunch and (part is None or size > BUNCH):
            joined = pa.concat_arrays([one.values.cast(pa.large_binary()) for one in bunch])
            if pc.any(pc.match_substring_regex(joined, _sieve())).as_py():
                yield from bunch
            bunch, size = [], 0


def _secret_kinds(values: Any) -> set[str]:
    likely = values.filter(pc.match_substring_regex(values, _sieve())).to_pylist()
    texts = [one if isinstance(one, str) else one.decode(errors="replace") for one in likely]
    lines = {line for text in texts for line in text.splitlines()}
    return {str(one.secret_type) for line in lines for one in _detectors() if any(one.analyze_string(line))}


@cache
def _detectors() -> tuple[Any, ...]:
    """Return the detectors of detect-secrets that know a key by its form."""
    import detect_secrets.plugins as package
    from detect_secrets.plugins.base import RegexBasedDetector

    made = []
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in UNSUITED:
            content = vars(importlib.import_module(f"{package.__name__}.{module.name}")).values()
            kinds = [one for one in content if isinstance(one, type) and one is not RegexBasedDetector]
            made += [one() for one in kinds if issubclass(one, RegexBasedDetector)]
    return tuple(made)


@cache
def _sieve() -> str:
    """Return one pattern that matches wherever a detector may find something, for a fast engine.

    It knows no look-around: without its conditions a pattern matches the more, and the detectors decide.
    """
    patterns = []
    for one in (pattern for detector in _detectors() for pattern in detector.denylist):
        text = re.sub(r"\(\?<?[=!](?:\[[^\]]*\]|\\.|[^()\\])*\)", "", one.pattern)
        text = re.sub(r"\{(\d+),\d{4,}\}", r"{\1,}", text)
        text = re.sub(r"\s+", "", text) if one.flags & re.VERBOSE else text
        patterns.append(f"(?{'i' if one.flags & re.IGNORECASE else ''}:{text})")
    return "|".join(patterns)


def no_leaks(root: Path, customer: str) -> str:
    """Refuse an image with a foreign canary or with any secret's tag; say what was looked at.

    Raises:
        VerifyFailed: there is one, or a file can't be looked into.
    """
    _refuse(leaks(root, customer))
    return _looked_at(root)


def no_secrets(root: Path) -> str:
    """Refuse an image with what has the form of a key; say what was looked at.

    Raises:
        VerifyFailed: there is one, or a file can't be looked into.
    """
    _refuse(secrets(root))
    return _looked_at(root)


def _refuse(found: list[Finding]) -> None:
    if found:
        rest = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise VerifyFailed("; ".join(map(str, found[:NAMED])) + rest)


def _looked_at(root: Path) -> str:
    kinds = Counter(kind_of(path) for path in _files(root, ()))
    return "looked into " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
