"""In the factory: which customer and which release is looked at.

Flow: ops.releases → verified image → unpacked files → Pinned
"""

from __future__ import annotations

import streamlit as st

from cradle.bake.unpack import images, root_of
from cradle.catalog import open_lake
from cradle.config import settings
from cradle.customers import customer_names
from cradle.releases import releases
from streamlit_apps.pinned import KEPT_SECONDS, Pinned


def choose() -> None:
    """Put the choice of customer and release into the sidebar; pages read it through `pinned`."""
    names = customer_names(settings().customers)
    with st.sidebar:
        customer = st.selectbox("Customer", names, key="customer") if names else None
        known = verified(customer) if customer else []
        release = st.selectbox("Release", known, format_func=lambda one: one.label, key=f"release of {customer}")
    st.session_state["pinned"] = release


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
