"""The dashboards: choose a customer and a release at the left, then look at its sales, its catalogue, its nights.

Flow: verified release → files of its image → DuckDB → page
Run:  cradle ui demo
"""

from __future__ import annotations

import streamlit as st

from streamlit_apps.released import choose
from streamlit_apps.views import catalogue, changes, nights, sales

st.set_page_config(page_title="Cradle", page_icon=":material/deployed_code:", layout="wide")
page = st.navigation(
    [
        st.Page(sales.show, title="Sales", icon=":material/monitoring:", url_path="sales", default=True),
        st.Page(catalogue.show, title="Catalogue", icon=":material/search:", url_path="catalogue"),
        st.Page(changes.show, title="What changed", icon=":material/difference:", url_path="changes"),
        st.Page(nights.show, title="Nights", icon=":material/nightlight:", url_path="nights"),
    ]
)
st.html("<style>.stMainBlockContainer { padding-top: 3rem; padding-bottom: 3rem; max-width: 84rem }</style>")
choose()
page.run()
