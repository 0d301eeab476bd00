"""Which customer and which release is looked at; every page reads the files of that one release's image.

Flow: ops.releases → verified image → unpacked files → Pinned
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import streamlit as st

from cradle.bake.unpack import images, root_of
from cradle.catalog import open_lake
from cradle.config import settings
from cradle.customers import customer_names
from cradle.manifest import Manifest, read_manifest
from cradle.releases import releases

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


def choose() -> None:
    """Put the choice of customer and release into the sidebar; pages read it through `pinned`."""
    names = customer_names(settings().customers)
    with st.sidebar:
        customer = st.selectbox("Customer", names, key="customer") if names else None
        known = verified(customer) if customer else []
        release = st.selectbox("Release", known, format_func=lambda one: one.label, key=f"release of {customer}")
    st.session_state["pinned"] = release


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


@st.cache_data(ttl=KEPT_SECONDS, show_spinner="Looking for releases …")
def verified(customer: str) -> list[Pinned]:
    """Return the releases whose image was verified, newest first."""
    found = settings()
    if found.catalog == "embedded" and not (found.lake(customer) / "catalog.db").is_file():
        return []
    known = releases(open_lake(found, customer, "analyst"))
    baked = images(found.images(customer) / "layout")
    made = []
    for one in known:
        digest = baked.get(f"{customer}:{one.short_id}")
        root = root_of(found, customer, digest) if digest else None
        if root is not None and root.is_dir():
            is_current = one.sequence == known[-1].sequence
            made.append(
                Pinned(customer, one.release_id, one.logical_date, one.sequence, one.created_at, is_current, root)
            )
    return made[::-1]


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
