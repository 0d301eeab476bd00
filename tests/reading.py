"""Parses a file: in this process, as the limited child does, or in such a child."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cradle.config import Settings
from cradle.installation import Source
from dlt_pipelines.reading.airlock import Parsers
from dlt_pipelines.reading.answer import Reading, read_answer
from dlt_pipelines.reading.formats import parse as parse_into


def parse(path: Path, source: Source, source_file: str) -> Reading:
    """Return what the parser of a format answers."""
    folder = Path(tempfile.mkdtemp(prefix="cradle-parsed-"))
    parse_into(path, source, source_file, folder)
    return read_answer(folder)


def read_original(path: Path, source: Source, settings: Settings, *, source_file: str) -> Reading:
    """Parse a file in a limited process of its own."""
    with Parsers(settings, 1) as parsers:
        return parsers.read(path, source, source_file=source_file)
