"""A preview as people read it, in a terminal and in the log of a task."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from cradle.backfill.told import DayPreview, Preview, SourcePreview

LONGEST = 160  # characters of a reason
HEADER = ("date", "epoch", "rows loaded", "rejected", "snapshots", "chunks", "texts", "image")
NUMBERS = {1, 2, 3, 4, 6}  # columns that stand at the right


def as_text(preview: Preview) -> str:
    """Return the preview as aligned lines: one table of the days, what changes in them, and all together."""
    span = f"{preview.first} to {preview.last}" if preview.first != preview.last else f"{preview.first}"
    lines = [f"Backfill of {preview.customer} in {preview.environment}, {span}. Nothing has been changed yet.", ""]
    lines += _aligned([HEADER, *(_day(day) for day in preview.days)])
    changes = [line for day in preview.days for line in _changes(day)]
    lines += ["", *changes] if changes else []
    return "\n".join([*lines, "", *_together(preview)])


def day_line(day: DayPreview) -> str:
    """Return one day as one line, for those who wait."""
    if day.fails:
        return f"{day.logical_date}  would fail: {_cut(day.fails)}"
    return f"{day.logical_date}  {day.snapshots} snapshots, {day.texts_to_embed} texts, image {_image(day)}"


def _day(day: DayPreview) -> tuple[str, ...]:
    loaded = sum(source.rows_loaded for source in day.sources)
    rejected = sum(source.rows_rejected for source in day.sources)
    name = f"{day.logical_date}{' (rebuild)' if day.rebuild else ''}"
    epoch = "–" if day.epoch is None else str(day.epoch)
    if day.fails:
        return (name, epoch, f"{loaded:,}", f"{rejected:,}", f"{day.snapshots:,}", "–", "–", "would fail")
    chunks = _before_after(day.chunks_before, day.chunks_after or 0)
    counts = (f"{loaded:,}", f"{rejected:,}", f"{day.snapshots:,}", chunks, f"{day.texts_to_embed:,}")
    return (name, epoch, *counts, _image(day))


def _image(day: DayPreview) -> str:
    return f"same as {day.same_as}" if day.image == "same" else day.image


def _before_after(before: int | None, after: int) -> str:
    return f"{after:,}" if before == after else f"{'–' if before is None else f'{before:,}'} → {after:,}"


def _changes(day: DayPreview) -> list[str]:
    """Return what is new on a day: files, tables, and why it would fail."""
    files = [line for source in day.sources if (line := _source(source))]
    changed = [one for one in day.tables if one.snapshots or one.rows_before != one.rows_after]
    rows = [f"{one.table} {_before_after(one.rows_before, one.rows_after)}" for one in changed]
    lines = [f"files   {'; '.join(files)}"] if files else []
    lines += [f"tables  {', '.join(rows)}"] if rows else []
    lines += [f"fails   {_cut(day.fails)}"] if day.fails else []
    return [f"{day.logical_date}  {line}" for line in lines]


def _source(source: SourcePreview) -> str:
    if source.state == "unchanged":
        return ""
    if source.state == "gone":
        return f"{source.source}: none in the inbox, {source.in_force} recorded"
    size = sum(file.bytes for file in source.claimed)
    back = f", {len(source.withdrawn)} withdrawn" if source.withdrawn else ""
    return f"{source.source}: {len(source.claimed)} new or changed, {_size(size)}{back}"


def _together(preview: Preview) -> list[str]:
    totals = preview.totals
    taken = "no earlier run to estimate the time from"
    if totals.minutes is not None:
        taken = "less than a minute" if totals.minutes < 1 else f"about {totals.minutes:,.0f} minutes"
    counts = f"{totals.snapshots:,} snapshots, {totals.texts_to_embed:,} texts to embed, {totals.images:,} new images"
    lines = [f"In all: {counts}, {_size(totals.bytes)} of files; {taken}."]
    if preview.makes_stale:
        lines.append(f"Makes stale: {_dates(preview.makes_stale)}.")
    if preview.rebuilds:
        lines.append(f"The newest date, {preview.rebuilds}, would be stale and is rebuilt at the end.")
    if preview.stale_after:
        lines.append(f"Stale when it has ended: {_dates(preview.stale_after)}. Backfill them too, or leave them.")
    return lines


def _dates(days: Iterable[date]) -> str:
    told = [str(day) for day in days]
    return ", ".join(told[:10]) + (f" and {len(told) - 10} more" if len(told) > 10 else "")


def _size(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB" if count >= 100_000 else f"{count / 1_000:,.1f} kB"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if at in NUMBERS else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
