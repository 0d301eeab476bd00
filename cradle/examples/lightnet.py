"""A catalogue of professional LED lighting, German and English, with the repetition and the dirt of real ones.

Full size: 104,699 SKUs x 75 attributes in 15 CSV and 12 XLSX files. Each file depends on the seed and its place alone,
so they are made in several processes with the same bytes.
"""

from __future__ import annotations

import csv
import io
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Final

from cradle.examples.lightnet_changes import Change, changed
from cradle.examples.lightnet_families import Row, family_rows, family_sizes
from cradle.examples.lightnet_words import ATTRIBUTES, GUIDES, SERIES
from cradle.examples.workbook import workbook

FULL: Final = 104_699
CSV_SHARE: Final = 0.12  # of the families; the rest comes in workbooks
CSV_FILES: Final = 15
XLSX_FILES: Final = 12
ALONE: Final = 5_000  # fewer SKUs are made in this process
HEADERS: Final = tuple(header for _, header, _, _ in ATTRIBUTES)


@dataclass(frozen=True)
class Part:
    """One file of the catalogue: its number among those of its kind, and its families with their sizes."""

    number: int
    suffix: str
    families: tuple[tuple[int, int], ...]

    @property
    def path(self) -> str:
        """Return where it lies below the inbox."""
        return f"catalogue/lightnet_{self.number + 1:02d}.{self.suffix}"


def lightnet_files(seed: int, rows: int | None, change: Change | None = None) -> Iterator[tuple[str, bytes, int]]:
    """Yield (path, bytes, records) of the catalogue: CSV files, workbooks, documents.

    Args:
        change: what the delivery says other than the first one; None: the first one.
    """
    count = FULL if rows is None else rows
    parts = catalogue_parts(seed, count)
    sizes = {part.path: sum(size for _, size in part.families) for part in parts}
    make = partial(_file, seed, change.of(sizes, seed) if change else None)
    if count < ALONE:
        yield from map(make, parts)
    else:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            yield from pool.map(make, parts)
    for number in range(48 if rows is None else 6):
        name, title, paragraphs = GUIDES[number % len(GUIDES)]
        series = SERIES[number % len(SERIES)][1]
        body = "\n\n".join(one.format(series=series) for one in paragraphs)
        yield f"documents/{number + 1:02d}_{name}.md", f"# {title.format(series=series)}\n\n{body}\n".encode(), 1


def catalogue_parts(seed: int, count: int) -> list[Part]:
    """Return the files of a catalogue of `count` SKUs; a family stands in one file."""
    families = list(enumerate(family_sizes(seed, count)))
    in_csv = min(len(families), max(2, round(len(families) * CSV_SHARE)))
    parts = []
    for suffix, some, files in (("csv", families[:in_csv], CSV_FILES), ("xlsx", families[in_csv:], XLSX_FILES)):
        files = min(files, len(some))
        for number in range(files):
            of_file = some[number * len(some) // files : (number + 1) * len(some) // files]
            parts.append(Part(number, suffix, tuple(of_file)))
    return parts


def part_rows(seed: int, part: Part, change: Change | None = None) -> list[Row]:
    """Return the rows of a file, as text, in the order of `HEADERS`."""
    rows = [row for number, size in part.families for row in family_rows(seed, number, size)]
    if part.suffix == "xlsx" and part.number % 2:  # half of the workbooks are in no order
        random.Random(f"{seed}/order/{part.path}").shuffle(rows)
    if part.suffix == "csv":
        rows += _dirt(random.Random(f"{seed}/dirt/{part.path}"), rows, part.number)
    return changed(seed, part.path, rows, part.families, change) if change else rows


def _file(seed: int, change: Change | None, part: Part) -> tuple[str, bytes, int]:
    rows = part_rows(seed, part, change)
    if part.suffix == "xlsx":
        return part.path, workbook("Katalog", HEADERS, rows), len(rows)
    encoding = "cp1252" if part.number % 3 == 1 else "utf-8"  # some suppliers still send the older encoding
    return part.path, _csv(rows, encoding), len(rows)


def _dirt(draw: random.Random, rows: list[Row], number: int) -> list[Row]:
    """Spoil some cells in place, and return rows that are delivered a second time."""
    power = [column for column, *_ in ATTRIBUTES].index("power_w")
    weight = [column for column, *_ in ATTRIBUTES].index("weight_kg")
    if len(rows) > 20:
        rows[draw.randrange(10, len(rows))][power] = "ca. 40"
        rows[draw.randrange(10, len(rows))][weight] = "1.2.3"
    if number == 0:
        rows[-1][power] = "42 W"
    return [list(rows[5])] if number % 3 == 0 and len(rows) > 5 else []


def _csv(rows: list[Row], encoding: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(HEADERS)
    writer.writerows(rows)
    return text.getvalue().encode(encoding)
