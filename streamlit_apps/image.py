"""The dashboards of an image: one release, the customer's own; no catalog, no network.

Run:  streamlit run streamlit_apps/image.py -- /cradle
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import streamlit as st

from cradle.manifest import read_manifest
from streamlit_apps.pinned import Pinned
from streamlit_apps.views import catalogue, changes, sales

root = Path(sys.argv[1])
manifest = read_manifest(root)
st.set_page_config(page_title=manifest.customer, page_icon=":material/deployed_code:", layout="wide")
st.session_state["customer"] = manifest.customer
st.session_state["pinned"] = Pinned(
    customer=manifest.customer,
    release_id=manifest.release_id,
    logical_date=manifest.logical_date,
    sequence=0,
    created_at=datetime.fromisoformat(manifest.created_at),
    current=True,
    root=root,
)
found = st.Page(catalogue.show, title="Catalogue", icon=":material/search:", url_path="catalogue")
news = st.Page(changes.show, title="What changed", icon=":material/difference:", url_path="changes")
pages = [found, news]
if "marts.orders" in manifest.tables:
    pages.insert(0, st.Page(sales.show, title="Sales", icon=":material/monitoring:", url_path="sales"))
page = st.navigation(pages)
st.html("<style>.stMainBlockContainer { padding-top: 3rem; padding-bottom: 3rem; max-width: 84rem }</style>")
page.run()
