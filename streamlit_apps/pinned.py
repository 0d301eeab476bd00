"""The release that is looked at; every page reads the files of that one release's image, and nothing else.

Flow: Pinned → files of the image → DuckDB → page
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import streamlit as st

from cradle.manifest import Manifest, read_manifest

KEPT_SECONDS = 60  # a new release shows after a minute at the latest
AGES = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@dataclass(frozen=True)
class Pinned:
    """A release and the folder with the files of its image."""

    customer: str
    release_id: str
    logical_date: date
    sequence: int
    created_at: datetime
    current: bool
    root: Path

    @property
    def label(self) -> str:
        """How a person picks it from a list."""
        return f"{self.logical_date:%d %b %Y} · {self.release_id[:8]}{' · current' if self.current else ''}"

    def manifest(self) -> Manifest:
        """Return what the image promises."""
        return read_manifest(self.root)

    def table(self, name: str) -> str | None:
        """Return the Parquet file of a table, None when the release has no such table."""
        entry = self.manifest().tables.get(name)
        return str(self.root / entry.file) if entry else None


def pinned(title: str) -> Pinned | None:
    """Write the page's title and the release with its age under it; without a release, say how to make one."""
    st.title(title)
    release: Pinned | None = st.session_state["pinned"]
    if release is None:
        customer = st.session_state.get("customer")
        if customer is None:
            st.info("There is no customer yet. Make one with `cradle customers add <name> --from <folder>`.")
        else:
            st.info(
                f"**{customer}** has no verified release yet. Run `cradle night {customer}`, then reload this page."
            )
        return None
    standing = ":green-badge[current release]" if release.current else ":orange-badge[an older release]"
    st.markdown(
        f"{standing} `{release.release_id[:12]}` with the data of **{release.logical_date:%d %B %Y}**, "
        f"made {age(release.created_at, datetime.now(UTC))} ago ({release.created_at:%Y-%m-%d %H:%M} UTC)"
    )
    return release


def age(made: datetime, now: datetime) -> str:
    """Return how long ago something was made, in its greatest unit."""
    seconds = max(int((now - made).total_seconds()), 0)
    for size, unit in AGES:
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def query(sql: str, values: dict[str, object]) -> duckdb.DuckDBPyConnection:
    """Run SQL in a connection of its own; values are bound, never part of the text."""
    connection = duckdb.connect(":memory:")
    connection.execute("set TimeZone = 'UTC'")
    return connection.execute(sql, values)
