"""Reads an unpacked image: tables through DuckDB, single rows through the key index, search over the flat index."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from cradle.errors import CradleError
from cradle.log import get
from cradle.lookup import row_of
from cradle.manifest import Manifest, TableEntry, read_manifest
from cradle.serve.deadline import TooSlow, within
from cradle.serve.integrity import Integrity
from cradle.serve.json_rows import valid
from cradle.serve.metrics import process_seconds
from cradle.serve.selection import Selection, Shape, Wish

__all__ = ["Store", "TooSlow", "UnknownTable"]

if TYPE_CHECKING:
    from cradle.search import Hit, Mode, Narrow, Searcher
    from cradle.search.lexical import Scan

log = get("serve")
MEMORY = "512MB"
SECONDS = 30.0
BATCH = 16_384  # rows of a part of a file
EXACT = "decimal(38, 10)"  # of whole numbers and decimals; a cast to their own type would round the value


class UnknownTable(CradleError):
    """The release has no such table or column."""


class Store:
    """An image's data, read-only.

    Args:
        background: answer from tables at once, open the search and hash the files meanwhile.
    """

    def __init__(self, root: Path, threads: int = 2, *, background: bool = False) -> None:
        self.root = root.resolve()
        self.manifest: Manifest = read_manifest(self.root)
        self.integrity = Integrity(self.root, self.manifest)
        self.publisher: str | None = None
        self.ready_after: dict[str, float] = {}
        self.dashboards: bool | None = None  # None: not part of this service
        if background:
            self.integrity.check_start()
        self._con = duckdb.connect(":memory:", config={"memory_limit": MEMORY, "threads": str(threads)})
        for table, entry in self.manifest.tables.items():
            path = str(self.root / entry.file).replace("'", "''")
            self._con.execute(f"""create view "{table}" as select * from read_parquet('{path}')""")
        self._types = {table: self._column_types(table) for table in self.manifest.tables}
        # Counted, never believed: the manifest's number is a promise that `verify` compares with this.
        self._counts = {table: self._count(table) for table in self.manifest.tables}
        self._con.execute("set allowed_directories = [$root]", {"root": str(self.root)})
        self._con.execute("set enable_external_access = false")
        self._con.execute("set lock_configuration = true")
        self.ready_after["tables"] = process_seconds()
        self._searcher: Searcher | None = None
        self.can_search = False
        self.search_problem = "the release has no texts" if self.manifest.vectors is None else ""
        self.opening = background and self.manifest.vectors is not None
        if background:
            threading.Thread(target=self._open_rest, args=[threads], name="opening", daemon=True).start()
        elif self.manifest.vectors is not None:
            self._open_search(threads)

    def _open_rest(self, threads: int) -> None:
        if self.manifest.vectors is not None:
            self._open_search(threads)
            self.opening = False
        self.integrity.start()

    def capabilities(self) -> dict[str, bool]:
        """Return what answers now."""
        can = {"tables": True, "search": self.can_search}
        return can if self.dashboards is None else {**can, "dashboards": self.dashboards}

    def promised(self) -> set[str]:
        """Return the capabilities that this release must have to be ready."""
        return (
            {"tables"}
            | ({"search"} if self.manifest.vectors else set())
            | (set() if self.dashboards is None else {"dashboards"})
        )

    def _count(self, table: str) -> int:
        return int(self._con.execute(f'select count(*) from "{table}"').fetchall()[0][0])

    def _column_types(self, table: str) -> dict[str, str]:
        """Return column → type as which a filter's value is read."""
        described = self._con.execute(f'describe "{table}"').fetchall()
        return {name: EXACT if _is_exact(kind) else kind for name, kind, *_ in described}

    def _open_search(self, threads: int) -> None:
        # Its libraries take longer to import than all that answers from tables.
        from cradle.search import Narrow, Searcher

        try:
            self._searcher = Searcher(self.root, self.manifest)
            self._searcher.open_vectors(threads)
            # The first answer is slower: nobody waits for it.
            self._searcher.search(self._first_question(), 1, Narrow(), self._searcher.mode(None))
            self.can_search = True
            self.ready_after["search"] = process_seconds()
        except (OSError, RuntimeError, ValueError, duckdb.Error) as error:
            # A damaged encoder costs the search, not the tables.
            self.search_problem = f"vectors or encoder can't be read: {error}"
            log.error("search is not available", problem=self.search_problem)
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("onnxruntime", "builtins"):
                raise
            self.search_problem = f"encoder can't be read: {error}"
            log.error("search is not available", problem=self.search_problem)

    def _first_question(self) -> str:
        asked = [question.query for question in self.manifest.golden if question.query]
        return asked[0] if asked else self.manifest.customer

    def table(self, name: str) -> tuple[str, TableEntry]:
        """Return a table by its name, with or without its layer.

        Raises:
            UnknownTable: the release has no such table.
        """
        for full, entry in self.manifest.tables.items():
            if name in (full, full.split(".", 1)[1]):
                return full, entry
        raise UnknownTable(f"table {name!r} is unknown. Known: {', '.join(sorted(self.manifest.tables))}.")

    def columns(self, table: str) -> frozenset[str]:
        """Return the columns of a table by its full name; none when the release has no such table."""
        return frozenset(self._types.get(table, ()))

    def select(self, name: str, wish: Wish) -> Selection:
        """Return what is to be read of a table.

        Raises:
            UnknownTable: no such table or column.
        """
        full, entry = self.table(name)
        compared = self._types[full]
        wrong = sorted(wish.named() - compared.keys())
        if wrong:
            raise UnknownTable(f"column {', '.join(wrong)} is unknown in {full}. Known: {', '.join(sorted(compared))}.")
        kinds = {column.name: column.type for column in entry.columns}
        return Selection(full, wish, kinds, compared, entry.key)

    def rows(
        self, name: str, limit: int, offset: int, filters: dict[str, str], seconds: float = SECONDS
    ) -> tuple[int, list[str]]:
        """Return (rows that fit the filters, one page of them as JSON objects in key order).

        Raises:
            UnknownTable: no such table or column.
            TooSlow: it took more than these seconds.
        """
        selection = self.select(name, Wish(filters))
        return self.count(selection, seconds), self.page(selection, limit, offset, seconds)

    def count(self, selection: Selection, seconds: float = SECONDS) -> int:
        """Return how many rows fit.

        Raises:
            TooSlow: it took more than these seconds.
        """
        if not selection.wish.filters:
            return self._counts[selection.table]
        cursor = self._con.cursor()
        with within(cursor, seconds):
            return int(cursor.execute(*selection.count()).fetchall()[0][0])

    def page(self, selection: Selection, limit: int, offset: int, seconds: float = SECONDS) -> list[str]:
        """Return rows as JSON objects.

        Raises:
            TooSlow: it took more than these seconds.
        """
        cursor = self._con.cursor()
        with within(cursor, seconds):
            return [valid(row[0]) for row in cursor.execute(*selection.page("json", limit, offset)).fetchall()]

    def batches(
        self, selection: Selection, shape: Shape, limit: int, offset: int, seconds: float = SECONDS
    ) -> Iterator[Any]:
        """Yield the schema of rows, then the rows as record batches, each read when it is asked for.

        Raises:
            TooSlow: one of them took more than these seconds.
        """
        cursor = self._con.cursor()
        with within(cursor, seconds):
            reader = cursor.execute(*selection.page(shape, limit, offset)).to_arrow_reader(BATCH)
        yield reader.schema
        while True:
            with within(cursor, seconds):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    def row(self, name: str, key: str) -> str | None:
        """Return one row as JSON by its key; None when there is none."""
        full, entry = self.table(name)
        if entry.key_index is None:
            _, found = self.rows(full, 1, 0, {entry.key[0]: key})
            return found[0] if found else None
        return row_of(self.root / entry.key_index, key)

    def search(self, query: str, k: int, narrow: Narrow, mode: Mode | None = None) -> tuple[Mode, list[Hit]]:
        """Return how it was searched, and the k best chunks.

        Args:
            mode: none: by meaning and by words, and by words alone while meaning can't be had.

        Raises:
            CradleError: this release can't search so, or not now.
        """
        searcher = self._searcher
        if self.manifest.vectors is None or (mode in ("hybrid", "semantic") and not self.can_search):
            why = "it is being opened; ask again in a second" if self.opening else self.search_problem
            raise CradleError(f"search is not available: {why}.")
        if searcher is None:
            return "lexical", self._scan.search(query, k, narrow)
        used = searcher.mode(mode)
        return used, searcher.search(query, k, narrow, used)

    @cached_property
    def _scan(self) -> Scan:
        from cradle.search.lexical import Scan

        return Scan(self.root, self.manifest)

    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(entry.bytes for entry in self.manifest.files.values())


def _is_exact(kind: str) -> bool:
    return kind.endswith(("INT", "INTEGER")) or (kind.startswith("DECIMAL") and kind.endswith(")"))
