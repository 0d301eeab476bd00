"""Gzip whose bytes depend on the input alone: libdeflate at a pinned version, whatever zlib the machine has.

Members of a fixed length follow one another, as RFC 1952 allows; every engine reads them as one stream.
"""

from __future__ import annotations

from typing import IO, Final

import deflate

MEMBER: Final = 32 << 20  # bytes that one member holds; decides the output
LEVEL: Final = 6


class Gzipped:
    """A sink that compresses what is written into another sink."""

    def __init__(self, sink: IO[bytes], level: int = LEVEL) -> None:
        self._sink, self._level, self._held = sink, level, bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes; whole members are passed on at once."""
        self._held += data
        while len(self._held) >= MEMBER:
            self._sink.write(deflate.gzip_compress(bytes(self._held[:MEMBER]), self._level))
            del self._held[:MEMBER]
        return len(data)

    def flush(self) -> None:
        """Do nothing: a member ends where its length says."""

    def close(self) -> None:
        """Write the last member; an empty stream has one too."""
        self._sink.write(deflate.gzip_compress(bytes(self._held), self._level))
        self._held.clear()
