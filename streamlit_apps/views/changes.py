"""The release notes: what changed since the release before, row by row.

Flow: notes of the image → counts per table → rows added, changed, removed
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cradle.compare import Changes, TableChanges
from streamlit_apps.pinned import pinned


def show() -> None:
    """Show the page."""
    release = pinned("What changed")
    if release is None:
        return
    notes = release.manifest().notes
    data = (release.root / notes.file).read_bytes() if notes else b"null"
    if data == b"null":
        st.info("This is the customer's first release: everything in it is new.")
        return
    found = Changes.model_validate_json(data)
    st.caption(f"Compared with release `{found.old_release[:12]}`, the one before. Counts are of all rows.")
    _figures(found)
    changed = {name: one for name, one in found.tables.items() if one.added or one.changed or one.removed}
    if not changed:
        st.info("No row of any table differs. The texts, the vectors and the tables are those of the release before.")
        return
    _summary(found)
    chosen = st.selectbox("Table", list(changed))
    _rows(changed[chosen], found.limit)


def _figures(found: Changes) -> None:
    tables = found.tables.values()
    figures = (
        ("Rows added", sum(one.added for one in tables), ""),
        ("Rows changed", sum(one.changed for one in tables), ""),
        ("Rows removed", sum(one.removed for one in tables), ""),
        ("Vectors", found.vectors_after, f"{found.vectors_after - found.vectors_before:+,}"),
    )
    for column, (label, value, delta) in zip(st.columns(4), figures, strict=True):
        column.metric(label, f"{value:,}", delta or None, delta_color="off", border=True)


def _summary(found: Changes) -> None:
    rows = [
        {
            "Table": name,
            "Before": one.rows_before,
            "After": one.rows_after,
            "Added": one.added,
            "Changed": one.changed,
            "Removed": one.removed,
            "Columns": ", ".join([*(f"+{c}" for c in one.columns_added), *(f"-{c}" for c in one.columns_removed)]),
        }
        for name, one in found.tables.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def _rows(one: TableChanges, limit: int) -> None:
    key = ", ".join(one.key)
    cells = [
        {key or "row": ", ".join(map(str, row.key)), "Column": name, "Before": str(cell.old), "After": str(cell.new)}
        for row in one.rows_changed
        for name, cell in row.cells.items()
    ]
    parts = (
        ("Changed", one.changed, pd.DataFrame(cells), len(one.rows_changed)),
        ("Added", one.added, pd.DataFrame([row.values for row in one.rows_added]), len(one.rows_added)),
        ("Removed", one.removed, pd.DataFrame([row.values for row in one.rows_removed]), len(one.rows_removed)),
    )
    for label, count, frame, listed in parts:
        if count:
            st.subheader(f"{label}: {count:,}")
            if listed < count:
                st.caption(f"The first {listed:,} of {count:,}; a table lists at most {limit:,}.")
            st.dataframe(frame, hide_index=True)
