"""The nights of a customer: what ran, what failed and why, from the outcome of every attempt.

Flow: outcome objects → newest attempt per date and verb → table
"""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st

from cradle.config import settings
from cradle.names import NIGHT
from streamlit_apps.pinned import KEPT_SECONDS

DAYS = 60  # nights that are shown


def show() -> None:
    """Show the page."""
    st.title("Nights")
    customer = st.session_state.get("customer")
    attempts = outcomes(customer) if customer else pd.DataFrame()
    if attempts.empty:
        st.info(f"Nothing has run for **{customer}** yet. Run `cradle night {customer}`.")
        return
    st.markdown(f"Every attempt of every verb for **{customer}**, the newest first, in UTC.")
    newest = attempts.drop_duplicates(["date", "verb", "source"])
    failed = newest[~newest["ok"]]
    last = newest[newest["date"] == attempts.iloc[0]["date"]]
    ended = last.groupby("verb")["ok"].all().sum()
    figures = (
        ("Last Night", str(attempts.iloc[0]["date"])),
        ("Verbs That Ended Well", f"{ended} of {len(NIGHT)}"),
        ("Seconds of Work", f"{last['seconds'].sum():,.1f}"),
        ("Open Failures", f"{len(failed):,}"),
    )
    for column, (label, value) in zip(st.columns(4), figures, strict=True):
        column.metric(label, value, border=True)
    for row in failed.head(5).itertuples():
        st.error(f"**{row.verb}** of {row.date} failed: {row.problem}", icon=":material/error:")
    with st.container(border=True):
        st.subheader("Attempts")
        st.dataframe(attempts, hide_index=True, height=460, column_config=_columns())


def _columns() -> dict[str, object]:
    return {
        "started": st.column_config.DatetimeColumn("Started", format="YYYY-MM-DD HH:mm:ss"),
        "date": "Logical Date",
        "verb": "Verb",
        "source": "Source",
        "ok": st.column_config.CheckboxColumn("Ended Well"),
        "seconds": st.column_config.NumberColumn("Seconds", format="%,.2f"),
        "counts": "Counted",
        "problem": "Error",
    }


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def outcomes(customer: str) -> pd.DataFrame:
    """Return one row per attempt, newest first."""
    folder = settings().outcomes(customer)
    nights = sorted((path for path in folder.glob("*") if path.is_dir()), reverse=True)[:DAYS]
    rows = [_row(json.loads(path.read_text(encoding="utf-8"))) for night in nights for path in night.glob("*.json")]
    return pd.DataFrame(rows).sort_values("started", ascending=False) if rows else pd.DataFrame()


def _source(inputs: object) -> str:
    sources = inputs.get("sources") if isinstance(inputs, dict) else None
    return ", ".join(sources) if isinstance(sources, list) else ""


def _row(outcome: dict[str, object]) -> dict[str, object]:
    error, counts = outcome["error"], outcome["counts"]
    told = counts.items() if isinstance(counts, dict) else ()
    return {
        "started": pd.Timestamp(str(outcome["started_at"])),
        "date": outcome["logical_date"],
        "verb": outcome["verb"],
        "source": _source(outcome["inputs"]),
        "ok": outcome["ok"],
        "seconds": outcome["seconds"],
        "counts": ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in told if value),
        "problem": f"{error['type']}: {error['message']}" if isinstance(error, dict) else "",
    }
