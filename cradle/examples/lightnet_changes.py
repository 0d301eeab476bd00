"""The next delivery of the lighting catalogue: a share of its SKUs changed, the rest as before."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cradle.examples.lightnet_families import Row, family_rows, sentence
from cradle.examples.lightnet_words import ATTRIBUTES

COLUMNS: Final = {column: at for at, (column, *_) in enumerate(ATTRIBUTES)}
GONE: Final = 0.1  # of the changed SKUs
NEW: Final = 0.1
TEXTS: Final = 0.2  # the others have other attributes


@dataclass(frozen=True)
class Change:
    """How a delivery differs from the first one.

    Attributes:
        share: of the SKUs, between 0 and 1.
        name: deliveries of other names, for example dates, have other changes.
        files: in how many files the changes stand; None: in all of them.
        paths: the files in which they stand; empty until the catalogue's files are known.
    """

    share: float
    name: str
    files: int | None = None
    paths: tuple[str, ...] = ()

    def of(self, sizes: Mapping[str, int], seed: int) -> Change:
        """Return the change for files of these numbers of SKUs: which files, and the share of their SKUs."""
        if self.files is None or self.files >= len(sizes):
            return replace(self, paths=tuple(sizes))
        chosen = random.Random(f"{seed}/changed/{self.name}").sample(list(sizes), self.files)
        there = sum(sizes[path] for path in chosen)
        return replace(self, share=min(1.0, self.share * sum(sizes.values()) / there), paths=tuple(sorted(chosen)))


def changed(seed: int, path: str, rows: list[Row], families: Sequence[tuple[int, int]], change: Change) -> list[Row]:
    """Return a file's rows as the delivery has them: some edited, some gone, new ones at the end.

    The first row stays as it is.
    """
    if path not in change.paths:
        return rows
    draw = random.Random(f"{seed}/changed/{change.name}/{path}")
    count = min(len(rows) - 1, max(1, round(len(rows) * change.share)))
    chosen = draw.sample(range(1, len(rows)), count) if count > 0 else []
    gone = set(chosen[: round(count * GONE)])
    new = round(count * NEW)
    for at in chosen[len(gone) : count - new]:
        rows[at] = _texts(draw, rows[at]) if draw.random() < TEXTS else _attributes(draw, rows[at])
    kept = [row for at, row in enumerate(rows) if at not in gone]
    number, size = families[int(draw.random() * len(families))]
    return kept + family_rows(seed, number, size + new)[size:]


def _texts(draw: random.Random, row: Row) -> Row:
    """Put another sentence after the opening of the long texts that the SKU has."""
    row = list(row)
    for column in ("description_de", "description_en"):
        opening, *_, last = row[COLUMNS[column]].partition(". ")
        if opening:
            row[COLUMNS[column]] = f"{opening}. {sentence(draw, column[-2:])} {last.partition('. ')[2]}"
    return row


def _attributes(draw: random.Random, row: Row) -> Row:
    """Change two attributes: one that stands in the text of the data sheet, and one that does not."""
    row = list(row)
    watt = 4 + int(draw.random() * 177)
    row[COLUMNS["power_w"]] = f"{watt},2"
    row[COLUMNS["delivery_days"]] = str(61 + int(draw.random() * 30))
    return row
