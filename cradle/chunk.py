"""Cuts a document's Markdown text into chunks along its structure.

Pure: the same text gives the same chunks. Headings open sections, paragraphs and tables stay whole where they fit, long
paragraphs are cut at sentences and then at spaces, a table's head is repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CHUNK_FORMAT: Final = 2  # raised when the same text gives other chunks
HEADING_CHARS: Final = 200  # a longer line is text, or it would be repeated in each chunk below it
_HEADING = re.compile(rf"^(#{{1,6}})\s++(.{{1,{HEADING_CHARS}}}?)(?:\s++#++)?\s*+$")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+(?=\S)")
_RULE = re.compile(r"^\|(\s*:?-+:?\s*\|)+$")


@dataclass(frozen=True)
class Chunk:
    """A piece of a document.

    Attributes:
        chunk_id: hash of document, content and occurrence; text inserted before does not change it.
        heading: path of the headings above it, joined by ` › `.
        text: what is embedded; the heading stands first when there is one.
        content_hash: SHA-256 (hex) of `text`; equal text is embedded once.
    """

    chunk_id: str
    document_id: str
    position: int
    heading: str
    text: str
    content_hash: str


def chunk_document(document_id: str, text: str, *, max_chars: int, overlap_chars: int = 0) -> list[Chunk]:
    """Cut a text; every character that is not white space stands in at least one chunk.

    Args:
        max_chars: size of a chunk's body, its heading not counted.
        overlap_chars: how much of a long paragraph's previous piece is repeated at most.
    """
    seen: Counter[str] = Counter()
    chunks: list[Chunk] = []
    for heading, body in _pieces(text, max_chars, min(overlap_chars, max_chars // 2)):
        whole = f"{heading}\n\n{body}" if heading and body else heading or body
        content_hash = hashlib.sha256(whole.encode()).hexdigest()
        identity = f"{document_id}\n{content_hash}\n{seen[content_hash]}"
        seen[content_hash] += 1
        chunk_id = hashlib.sha256(identity.encode()).hexdigest()[:32]
        chunks.append(Chunk(chunk_id, document_id, len(chunks), heading, whole, content_hash))
    return chunks


def _pieces(text: str, max_chars: int, overlap: int) -> Iterator[tuple[str, str]]:
    for heading, blocks in _sections(text):
        body = ""
        for block in (part for whole in blocks for part in _fit(whole, max_chars, overlap)):
            if body and len(body) + 2 + len(block) > max_chars:
                yield heading, body
                body = ""
            body = f"{body}\n\n{block}" if body else block
        if body or not blocks:
            yield heading, body


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (heading path, blocks); a heading without text of its own is kept when nothing stands below it."""
    path: list[tuple[int, str]] = []
    blocks: list[str] = []
    lines: list[str] = []
    opened = False

    def close() -> None:
        if lines:
            blocks.append("\n".join(lines))
            lines.clear()

    for line in text.split("\n"):
        found = _HEADING.match(line)
        if found:
            close()
            level = len(found.group(1))
            below = path and level > path[-1][0]
            if blocks or (opened and not below):
                yield " › ".join(name for _, name in path), blocks
                blocks = []
            path = [(depth, name) for depth, name in path if depth < level] + [(level, found.group(2))]
            opened = True
        elif line.strip():
            lines.append(line.rstrip())
        else:
            close()
    close()
    if blocks or opened:
        yield " › ".join(name for _, name in path), blocks


def _fit(block: str, max_chars: int, overlap: int) -> list[str]:
    if len(block) <= max_chars:
        return [block]
    lines = block.split("\n")
    if len(lines) > 1 and lines[0].startswith("|"):
        return _table(lines, max_chars)
    if len(lines) > 1:
        return _packed([part for line in lines for part in _fit(line, max_chars, overlap)], max_chars, "\n")
    sentences = [part for whole in _SENTENCE.split(block) for part in _words(whole, max_chars)]
    return _overlapped(sentences, max_chars, overlap)


def _table(lines: list[str], max_chars: int) -> list[str]:
    head = lines[:2] if len(lines) > 1 and _RULE.match(lines[1]) else lines[:1]
    prefix = "\n".join(head)
    room = max(max_chars - len(prefix) - 1, max_chars // 4)
    rows = [part for line in lines[len(head) :] for part in _words(line, room)]
    if not rows:
        return _words(prefix.replace("\n", " "), max_chars)
    if len(prefix) > max_chars // 2:  # a head that wide is not repeated
        return _packed([*_words(" ".join(head), max_chars), *rows], max_chars, "\n")
    return [f"{prefix}\n{part}" for part in _packed(rows, room, "\n")]


def _packed(parts: list[str], max_chars: int, joint: str) -> list[str]:
    packed: list[str] = []
    for part in parts:
        if packed and len(packed[-1]) + len(joint) + len(part) <= max_chars:
            packed[-1] += joint + part
        else:
            packed.append(part)
    return packed


def _overlapped(sentences: list[str], max_chars: int, overlap: int) -> list[str]:
    pieces: list[list[str]] = [[]]
    for sentence in sentences:
        now = pieces[-1]
        if now and sum(map(len, now)) + len(now) + len(sentence) > max_chars:
            tail = now[-1]
            fits = len(tail) <= overlap and len(tail) + 1 + len(sentence) <= max_chars
            pieces.append([tail] if fits else [])
        pieces[-1].append(sentence)
    return [" ".join(piece) for piece in pieces]


def _words(text: str, max_chars: int) -> list[str]:
    """Cut at spaces; a word longer than a chunk is cut inside."""
    if len(text) <= max_chars:
        return [text]
    pieces = [word[at : at + max_chars] for word in text.split() for at in range(0, len(word), max_chars)]
    return _packed(pieces, max_chars, " ")
