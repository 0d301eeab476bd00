"""What was current when: deliveries, and the state of the sources as of a date (DESIGN, section 4).

Flow: files in the inbox → due deliveries → `ops.deliveries` → as-of list of originals
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from cradle.catalog import ops
from cradle.catalog.lake import Lake
from cradle.digest import canonical_hash, step_key
from cradle.installation import Installation, Source

TABLE = "ops.deliveries"
READING_FORMAT = 1  # raised when the parsers read the same bytes differently; originals are then loaded anew
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, order=True)
class File:
    """A file of a delivery: its path below the inbox, and its bytes' identity."""

    path: str
    sha256: str
    bytes: int

    @property
    def dated(self) -> date | None:
        """The date of the folder it lies in, if it lies in a dated one."""
        return dated_folder(self.path)


@dataclass(frozen=True)
class Delivery:
    """What a source delivered for one logical date; a higher version replaces a lower one."""

    source: str
    logical_date: date
    version: int
    files: tuple[File, ...]

    @property
    def content(self) -> tuple[str, ...]:
        """The ordered digests of its originals: a rename that keeps the order is no change."""
        return tuple(file.sha256 for file in self.files)


@dataclass(frozen=True)
class Original:
    """An original in force as of a date.

    Attributes:
        delivery: ordinal of its date among those of the role; a larger one is newer.
        position: ordinal within the role, in reading order.
    """

    step_key: str
    source: str
    position: int
    delivery: int
    delivered_on: date
    file: File


@dataclass(frozen=True)
class AsOf:
    """The originals in force as of a date, for each role."""

    roles: dict[str, tuple[Original, ...]]

    def originals(self, role: str) -> tuple[Original, ...]:
        """Return a role's originals, oldest first."""
        return self.roles.get(role, ())

    def digest(self, role: str) -> str:
        """Return the digest of a role's input: which originals, read how, in which order."""
        return canonical_hash([[one.source, one.step_key, one.delivery] for one in self.originals(role)])


def dated_folder(path: str) -> date | None:
    """Return the date of the innermost folder that is named like one."""
    for part in reversed(path.split("/")[:-1]):
        if _DATED.fullmatch(part):
            try:
                return date.fromisoformat(part)
            except ValueError:
                continue
    return None


def without_date(path: str) -> str:
    """Return a path below the inbox without its dated folders; a source's globs match this."""
    *folders, name = path.split("/")
    return "/".join([part for part in folders if dated_folder(f"{part}/x") is None] + [name])


def original_key(sha256: str, source: Source) -> str:
    """Return the step key of loading one original: its bytes, and the mapping and parser that read it."""
    return step_key("ingest", original=sha256, mapping=source.mapping(), reading_format=READING_FORMAT)


def recorded(lake: Lake) -> list[Delivery]:
    """Return every delivery in its newest version, ordered by source and logical date."""
    newest: dict[tuple[str, date], Delivery] = {}
    for row in ops.rows(lake, TABLE):
        files = tuple(File(**item) for item in json.loads(row["originals"]))
        delivery = Delivery(row["source"], row["logical_date"], row["version"], files)
        known = newest.get((delivery.source, delivery.logical_date))
        if known is None or known.version < delivery.version:
            newest[delivery.source, delivery.logical_date] = delivery
    return [newest[key] for key in sorted(newest)]


def due(
    source: Source, present: Iterable[File], known: Sequence[Delivery], logical_date: date, *, old: bool
) -> list[Delivery]:
    """Return the deliveries that a run for `logical_date` has to record.

    Args:
        present: the files of this source in the inbox now.
        known: what is recorded, of any source.
        old: the date is older than what is known; an undated file is then never claimed.
    """
    mine = {delivery.logical_date: delivery for delivery in known if delivery.source == source.name}
    files = sorted(present)
    found: dict[date, list[File]] = {}
    for file in files:
        if file.dated is not None and file.dated <= logical_date:
            found.setdefault(file.dated, []).append(file)
    undated = [] if old else [file for file in files if file.dated is None]
    claimed = _claim_undated(source, undated, mine, logical_date) if undated else []
    if claimed:
        found.setdefault(logical_date, [])
    for day in found:
        kept = mine[day].files if day in mine else ()
        extra = claimed if day == logical_date and claimed else [file for file in kept if file.dated is None]
        found[day] = _by_path([*found[day], *extra])
    return [delivery for day in sorted(found) if (delivery := _next(source, day, found[day], mine.get(day)))]


def _claim_undated(source: Source, undated: list[File], mine: dict[date, Delivery], logical_date: date) -> list[File]:
    earlier = [delivery for day, delivery in sorted(mine.items()) if any(file.dated is None for file in delivery.files)]
    if source.delivery == "full":
        newest = tuple(file.sha256 for file in earlier[-1].files if file.dated is None) if earlier else ()
        return [] if tuple(file.sha256 for file in undated) == newest else undated
    seen = {file.sha256 for delivery in earlier for file in delivery.files}
    arrived = [file for file in undated if file.sha256 not in seen]
    if not arrived:
        return []
    own = mine.get(logical_date)
    return [*(file for file in (own.files if own else ()) if file.dated is None), *arrived]


def _by_path(files: Iterable[File]) -> list[File]:
    """Order by path; of two files with one path the later one counts."""
    return sorted({file.path: file for file in files}.values())


def _next(source: Source, day: date, files: list[File], known: Delivery | None) -> Delivery | None:
    delivery = Delivery(source.name, day, known.version + 1 if known else 1, tuple(files))
    return None if known and known.content == delivery.content else delivery


def record(lake: Lake, deliveries: Sequence[Delivery]) -> bool:
    """Append deliveries; tell whether anything was written."""
    if not deliveries:
        return False
    rows = [
        {
            "source": delivery.source,
            "logical_date": delivery.logical_date,
            "version": delivery.version,
            "originals": json.dumps([vars(file) for file in delivery.files], ensure_ascii=False),
            "recorded_at": datetime.now(UTC),
        }
        for delivery in deliveries
    ]
    identity = [[d.source, d.logical_date.isoformat(), d.version, list(d.content)] for d in deliveries]
    return ops.append(lake, TABLE, ops.DELIVERIES, rows, step_key("deliver", deliveries=identity)).written


def as_of(lake: Lake, installation: Installation, logical_date: date) -> AsOf:
    """Return the originals in force as of a date, read from the catalog."""
    return state(recorded(lake), installation, logical_date)


def state(known: Sequence[Delivery], installation: Installation, logical_date: date) -> AsOf:
    """Return the originals in force: of a full source its newest delivery, of an incremental one every period.

    An original that was delivered twice counts once, where it was delivered last.
    """
    found: dict[str, list[tuple[Source, date, File]]] = {}
    for source in installation.sources:
        mine = [item for item in known if item.source == source.name and item.logical_date <= logical_date]
        mine.sort(key=lambda delivery: delivery.logical_date)
        chosen = mine[-1:] if source.delivery == "full" else mine
        last = {file.sha256: (delivery.logical_date, file) for delivery in chosen for file in delivery.files}
        in_order = dict.fromkeys(file.sha256 for delivery in reversed(chosen) for file in reversed(delivery.files))
        found.setdefault(source.role, []).extend((source, *last[sha256]) for sha256 in reversed(in_order))
    return AsOf({role: _numbered(items) for role, items in found.items()})


def _numbered(items: list[tuple[Source, date, File]]) -> tuple[Original, ...]:
    """Number a role's originals; their dates count by their order only, so that equal content stays equal later."""
    ordinal = {day: at for at, day in enumerate(sorted({day for _, day, _ in items}))}
    return tuple(
        Original(
            step_key=original_key(file.sha256, source),
            source=source.name,
            position=at,
            delivery=ordinal[day],
            delivered_on=day,
            file=file,
        )
        for at, (source, day, file) in enumerate(items)
    )
