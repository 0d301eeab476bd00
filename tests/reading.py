"""Parses a file in this process, as the limited child does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cradle.installation import Source
from dlt_pipelines.reading.answer import Reading, read_answer
from dlt_pipelines.reading.formats import parse as parse_into


def parse(path: Path, source: Source, source_file: str) -> Reading:
    """Return what the parser of a format answers."""
    folder = Path(tempfile.mkdtemp(prefix="cradle-parsed-"))
    parse_into(path, source, source_file, folder)
    return read_answer(folder)
