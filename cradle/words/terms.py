"""Text to terms, the same for chunks and for questions, in German and English.

A word is folded (case, accents, ß; `ae` is `ä`) and loses its ending. A run with joints counts in its parts, and whole
too when digits stand in it, as in article numbers: `LED-Deckenleuchten` → led, deckenleucht; `AX-830H` → ax-830h, ax,
830h.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

TERMS_FORMAT: Final = 1  # raised when the same text gives other terms
SHORTEST: Final = 4  # letters that stay of a word
_RUN = re.compile(r"[^\W_]+(?:[-‐‑/.,_+][^\W_]+)*")
_JOINT = re.compile(r"[-‐‑/.,_+]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MEASURE = re.compile(r"(\d+(?:[.,]\d+)*)[a-z]{1,3}")
_DIGRAPH = re.compile(r"(?<![aeiouq])([aou])e")
_ENDING = re.compile(r"(?:ern|em|en|er|es|e|n|s)$")


def terms(text: str) -> list[str]:
    """Return the terms of a text in their order, repeated as they are."""
    return [term for run in _RUN.findall(fold(text)) for term in _terms(run)]


def fold(text: str) -> str:
    """Return a text without case, accents and ß; its joints stay."""
    plain = text.casefold()
    if plain.isascii():
        return plain
    return "".join(one for one in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(one)).casefold()


@lru_cache(maxsize=65_536)
def _terms(run: str) -> tuple[str, ...]:
    if _NUMBER.fullmatch(run):
        return (run.replace(",", "."),)
    found = _MEASURE.fullmatch(run)
    if found:
        return run.replace(",", "."), found.group(1).replace(",", ".")
    parts = _JOINT.split(run)
    if len(parts) == 1:
        return (stem(run),)
    whole = ("-".join(parts),) if any(one.isdigit() for one in run) else ()
    return whole + tuple(term for part in parts for term in _terms(part))


def stem(word: str) -> str:
    """Return a folded word without its ending; what holds a digit stays as it is."""
    if not word.isalpha():
        return word
    word = _DIGRAPH.sub(r"\1", word)
    while len(word) > SHORTEST:
        short = _ENDING.sub("", word)
        if len(short) < SHORTEST or short == word:
            break
        word = short
    return word
