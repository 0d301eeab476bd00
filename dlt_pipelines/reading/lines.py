"""Text files in blocks of whole lines, as UTF-8, whatever encoding they come in; memory holds a few blocks."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from cradle.installation import Dialect
from dlt_pipelines.reading.parsed import Rejects

BLOCK = 1 << 22  # bytes
RAW = "surrogateescape"  # keeps bytes that don't decode, so that their line can be named and left out


class Blocks:
    """Blocks of whole lines, and the number of the line that comes next; what was not used can be put back."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._back: list[bytes] = []
        self.number = 1

    def take(self) -> bytes:
        """Return the next block; nothing at the end of the file."""
        return self._back.pop() if self._back else next(self._blocks, b"")

    def take_lines(self, count: int, lines: list[bytes]) -> list[bytes]:
        """Return these lines and those that follow, until there are so many or the file ends."""
        while len(lines) < count and (block := self.take()):
            lines += block.splitlines(keepends=True)
        return lines

    def put_back(self, lines: list[bytes], used: int) -> None:
        """Put back all but the lines that were used."""
        if len(lines) > used:
            self._back.append(b"".join(lines[used:]))
        self.number += used


def utf8_blocks(path: Path, dialect: Dialect, rejects: Rejects, notes: list[str]) -> Iterator[bytes]:
    """Give a file as UTF-8; bytes that decode in no allowed way stay as they are."""
    encoding, begin = dialect.encoding, 0
    with path.open("rb") as stream:
        mark = stream.read(3)
    if mark.startswith(codecs.BOM_UTF8):
        encoding, begin = "utf-8", 3
    elif mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    if codecs.lookup(encoding).name == "utf-8":
        blocks = whole_lines(blocks_of(path, begin))
        yield from _mended(blocks, dialect.fallback_encoding, rejects, notes) if dialect.fallback_encoding else blocks
        return
    problem, errors = first_error(path, encoding), "strict"
    if problem and codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        rejects.add("file", "bad_encoding", f"not {encoding}: {problem}. Deliver the file again, whole")
        return
    if problem and dialect.fallback_encoding and first_error(path, dialect.fallback_encoding) is None:
        notes.append(f"{rejects.source_file}: not {encoding}, read as {dialect.fallback_encoding}")
        encoding = dialect.fallback_encoding
    elif problem:
        errors = RAW
    yield from whole_lines(text.encode(errors=errors) for text in decoded(path, encoding, errors))


def decoded(path: Path, encoding: str, errors: str = "strict") -> Iterator[str]:
    """Give a file's text, block by block."""
    decoder = _decoder(path, encoding, errors)
    for block in blocks_of(path):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def first_error(path: Path, encoding: str) -> str | None:
    """Return what is wrong when a file does not decode, in the words of Python; None: it decodes."""
    decoder = _decoder(path, encoding)
    read = 0
    for block in chain(blocks_of(path), (b"",)):
        before = read - len(decoder.getstate()[0])
        read += len(block)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            begin, end = before + error.start, before + error.end - 1
            byte = f"byte 0x{error.object[error.start]:02x} in position {begin}"
            what = byte if begin == end else f"bytes in position {begin}-{end}"
            return f"{error.encoding!r} codec can't decode {what}: {error.reason}"
    return None


def _decoder(path: Path, encoding: str, errors: str = "strict") -> codecs.IncrementalDecoder:
    """Return a decoder that takes this machine's byte order when a file does not begin with a mark of its own."""
    name = codecs.lookup(encoding).name
    if name in ("utf-16", "utf-32"):
        with path.open("rb") as stream:
            begin = stream.read(4)
        marks = {
            "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
            "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
        }[name]
        name += "" if begin.startswith(marks) else {"little": "-le", "big": "-be"}[sys.byteorder]
    return codecs.getincrementaldecoder(name)(errors)


def decodes(data: bytes, encoding: str = "utf-8") -> bool:
    """Tell whether bytes are text in an encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks anew, so that each ends with a line; a block grows as far as its first line needs."""
    kept = b""
    for block in blocks:
        kept += block
        # A carriage return that comes last may be half of a line ending.
        cut = max(kept.rfind(b"\n"), kept.rfind(b"\r", 0, -1)) + 1
        if cut:
            yield kept[:cut]
            kept = kept[cut:]
    if kept:
        yield kept


def blocks_of(path: Path, begin: int = 0) -> Iterator[bytes]:
    """Give a file's bytes, block by block."""
    with path.open("rb") as stream:
        stream.seek(begin)
        while block := stream.read(BLOCK):
            yield block


def _mended(blocks: Iterable[bytes], fallback: str, rejects: Rejects, notes: list[str]) -> Iterator[bytes]:
    """Read the lines that are not UTF-8 in the fallback encoding; a file may mix both."""
    bad, first, before = 0, 0, 0
    for block in blocks:
        if decodes(block):
            before += _count(block) if not bad else 0
            yield block
            continue
        lines = block.splitlines(keepends=True)
        for at, line in enumerate(lines):
            if not decodes(line) and decodes(line, fallback):
                lines[at] = line.decode(fallback).encode()
                bad, first = bad + 1, first or before + at + 1
        before += len(lines)
        yield b"".join(lines)
    if bad:
        notes.append(f"{rejects.source_file}: {bad} line(s) not utf-8, read as {fallback}; first: {first}")


def _count(block: bytes) -> int:
    """Count the lines of a block of whole lines."""
    ends = block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
    return ends + (not block.endswith((b"\n", b"\r")))
