"""The products and texts of one release: search by meaning and words, find products, look at one.

Flow: question → search over the image's own files → chunks; marts.syndication_products → table
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pandas as pd
import streamlit as st

from cradle.config import settings
from cradle.manifest import TableEntry, read_manifest
from cradle.search import Hit, Narrow, Searcher
from streamlit_apps.pinned import KEPT_SECONDS, Pinned, pinned, query

TABLE = "marts.syndication_products"
HITS = 6
SHOWN_CHARS = 360
SHOWN_PRODUCTS = 1_000
SEARCHERS = 2  # open indexes kept in memory


def show() -> None:
    """Show the page."""
    release = pinned("Catalogue and Documents")
    if release is None:
        return
    texts, products = st.tabs(["Search", "Products"])
    with texts:
        _search(release)
    with products:
        _products(release)


def _search(release: Pinned) -> None:
    manifest = release.manifest()
    if manifest.vectors is None or manifest.encoder is None:
        st.info("This release has no texts to search in.")
        return
    question = st.text_input(
        "What are you looking for?", placeholder="for example: something to sit on in the office", key="question"
    )
    st.caption(
        f"{manifest.vectors.count:,} passages, model {manifest.encoder.model}, answered from the image's own files"
    )
    if question.strip():
        search = searcher(str(release.root))
        for hit in search.search(question, HITS, Narrow(), search.mode("hybrid")):
            _card(hit)


def _card(hit: Hit) -> None:
    with st.container(border=True):
        left, right = st.columns([6, 1], vertical_alignment="center")
        heading = f" · {hit.heading}" if hit.heading and hit.heading != hit.title else ""
        left.markdown(f"**{_plain(hit.title or hit.document_id)}**{_plain(heading)}")
        right.progress(min(max(hit.score, 0.0), 1.0), text=f"{hit.score:.2f}")
        st.text(textwrap.shorten(hit.text, SHOWN_CHARS, placeholder=" …"))
        st.caption(" · ".join(part for part in (hit.sku, hit.source_file) if part))


def _plain(text: str) -> str:
    """Keep a customer's text from being read as Markdown."""
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()#+-.!|<>$:~" else sign for sign in text)


@st.cache_resource(max_entries=SEARCHERS, show_spinner="Opening the search index …")
def searcher(root: str) -> Searcher:
    """Open the search of an image; the folder of an image never changes."""
    folder = Path(root)
    opened = Searcher(folder, read_manifest(folder))
    opened.open_vectors(settings().threads)
    return opened


def _products(release: Pinned) -> None:
    entry, file = release.manifest().tables.get(TABLE), release.table(TABLE)
    if entry is None or file is None:
        st.info("This release holds no product catalogue.")
        return
    word = st.text_input("Find in any attribute", placeholder="SKU, name, text …", key="word").strip()
    found, count = products(file, tuple(column.name for column in entry.columns), word)
    st.caption(
        f"{count:,} of {entry.rows:,} products"
        + (f"; the first {SHOWN_PRODUCTS:,} are shown" if count > SHOWN_PRODUCTS else "")
    )
    if not count:
        st.info(f"No product has “{_plain(word)}” in any of its attributes.")
        return
    st.dataframe(found, hide_index=True, height=460, column_config=_columns(entry))


def _columns(entry: TableEntry) -> dict[str, object]:
    made: dict[str, object] = {}
    for column in entry.columns:
        title = f"{column.name} ({column.unit})" if column.unit else column.name
        made[column.name] = (
            None if column.name.startswith("_") else st.column_config.Column(title, help=column.description)
        )
    return made


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def products(file: str, columns: tuple[str, ...], word: str) -> tuple[pd.DataFrame, int]:
    """Return the products that have a word in any attribute, and how many there are."""
    anywhere = " or ".join(f"contains(lower({_quoted(name)}::varchar), lower($word))" for name in columns)
    where = f"from read_parquet($file) where $word = '' or {anywhere}"
    values: dict[str, object] = {"file": file, "word": word}
    (count,) = query(f"select count(*) {where}", values).fetchone() or (0,)
    return query(f"select * {where} order by sku limit {SHOWN_PRODUCTS}", values).df(), int(count)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
