"""What a preview tells: per day, and of all days together."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["present", "unchanged", "gone"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeenFile(_Model):
    """A file of the inbox that the run would record for a date, for the first time or in another version."""

    path: str
    bytes: int
    logical_date: date


class SourcePreview(_Model):
    """What a source brings to a day.

    `present`: files would be claimed or taken back; `unchanged`: they are recorded as they are; `gone`: the inbox has
    none of its files, and what was recorded earlier counts. Rows are those of originals that the run would load.
    """

    source: str
    state: State
    claimed: tuple[SeenFile, ...] = ()
    withdrawn: tuple[str, ...] = ()
    in_force: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0


class TablePreview(_Model):
    """A table of the day: rows in force for it before (None: never made for this date) and after; new snapshots."""

    table: str
    rows_before: int | None
    rows_after: int
    snapshots: int


class DayPreview(_Model):
    """What the run of one date would do.

    `image`: `new`; `same` as that of the date `same_as`; `unchanged`: the date's release stays; `none`: it would fail.
    """

    logical_date: date
    rebuild: bool
    epoch: int | None = None
    sources: tuple[SourcePreview, ...] = ()
    tables: tuple[TablePreview, ...] = ()
    chunks_before: int | None = None
    chunks_after: int | None = None
    texts_to_embed: int = 0
    image: Literal["new", "same", "unchanged", "none"] = "none"
    same_as: date | None = None
    fails: str | None = None

    @property
    def snapshots(self) -> int:
        """New snapshots of all tables."""
        return sum(table.snapshots for table in self.tables)

    @property
    def bytes(self) -> int:
        """Size of the files that would be claimed."""
        return sum(file.bytes for source in self.sources for file in source.claimed)


class Totals(_Model):
    """All days together; `minutes` is None when there is no earlier run to estimate from."""

    snapshots: int
    texts_to_embed: int
    images: int
    bytes: int
    minutes: float | None


class Preview(_Model):
    """What a backfill would change. The last day is a `rebuild` of the newest date when the others make it stale."""

    customer: str
    environment: str
    first: date
    last: date
    days: tuple[DayPreview, ...]
    makes_stale: tuple[date, ...]
    stale_after: tuple[date, ...]
    rebuilds: date | None
    totals: Totals
