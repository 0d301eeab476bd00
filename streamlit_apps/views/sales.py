"""The sales of one release: figures, trend, regions, products, order lines.

Flow: filters → marts.orders of the release → figures and charts
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import streamlit as st

from streamlit_apps import charts, orders
from streamlit_apps.pinned import Pinned, pinned

TABLE = "marts.orders"
ALL = "All"
SHOWN_LINES = 2_000  # more would slow the browser down; the download has all
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}


def show() -> None:
    """Show the page."""
    release = pinned("Sales Dashboard")
    if release is None:
        return
    file = release.table(TABLE)
    if file is None:
        has = ", ".join(sorted(release.manifest().tables))
        st.info(f"This release holds no sales. It has: {has}. See the page *Catalogue*.")
        return
    known = orders.extent(file)
    if known is None:
        st.info("The sales table of this release is empty: no order was delivered on or before its date.")
        return
    chosen = _filters(file, known)
    if chosen is None:
        return
    unit = _unit(release)
    found = orders.totals(chosen)
    _figures(found, unit)
    if not found.lines:
        st.info("No order matches these filters. Choose another region, product or date range.")
        return
    _charts(chosen, unit)
    _table(chosen, found, unit, release)


def _filters(file: str, known: orders.Extent) -> orders.Filter | None:
    with st.sidebar:
        st.divider()
        st.subheader("Filters")
        region = st.selectbox("Region", [ALL, *known.regions])
        product = st.selectbox("Product", [ALL, *known.products])
        picked = st.date_input(
            "Date range", (known.first, known.last), min_value=known.first, max_value=known.last, format="YYYY-MM-DD"
        )
    days: tuple[date, ...] = picked if isinstance(picked, tuple) else (picked,)
    if len(days) != 2:
        st.info("Choose the last day of the date range as well.")
        return None
    return orders.Filter(file, *days, *(None if one == ALL else one for one in (region, product)))


def _unit(release: Pinned) -> str:
    columns = {column.name: column.unit for column in release.manifest().tables[TABLE].columns}
    return columns.get("line_total") or columns.get("amount") or ""


def _figures(found: orders.Totals, unit: str) -> None:
    figures = (
        ("Total Revenue", money(found.revenue, unit), "Sum of quantity times price over the chosen order lines."),
        ("Total Orders", f"{found.orders:,}", "Distinct order numbers."),
        ("Unique Customers", f"{found.customers:,}", "Distinct customers over the whole selection."),
        ("Avg Order Value", money(found.average, unit), "Total revenue divided by total orders."),
    )
    for column, (label, value, about) in zip(st.columns(4), figures, strict=True):
        column.metric(label, value, help=about, border=True)


def _charts(chosen: orders.Filter, unit: str) -> None:
    with st.container(border=True):
        st.subheader("Daily Revenue Trend")
        st.caption("Thin line: each day. Thick line: mean of seven days.")
        st.altair_chart(charts.trend(orders.by_day(chosen), unit), width="stretch")
    for place, column in zip(st.columns(2), ("region", "product"), strict=True):
        names = orders.by_name(chosen, column)
        with place.container(border=True, height="stretch"):
            st.subheader(f"Revenue by {column.title()}")
            if list(names["name"]) == [orders.NOT_GIVEN]:
                st.info(f"None of the chosen order lines names a {column}.")
                continue
            if len(names) > charts.MOST_BARS:
                st.caption(f"The {charts.MOST_BARS} greatest of {len(names):,}.")
            st.altair_chart(charts.bars(names, column.title(), unit), width="stretch")


def _table(chosen: orders.Filter, found: orders.Totals, unit: str, release: Pinned) -> None:
    with st.container(border=True):
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        left.subheader("Detailed Data")
        more = found.lines > SHOWN_LINES
        left.caption(
            f"{found.lines:,} order lines, newest first."
            + (f" The newest {SHOWN_LINES:,} are shown; the download has all." if more else "")
        )
        right.download_button(
            "Download CSV",
            lambda: orders.lines(chosen, None).to_csv(index=False),
            file_name=f"{release.customer}_orders_{chosen.first}_{chosen.last}_{release.release_id[:12]}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )
        st.dataframe(orders.lines(chosen, SHOWN_LINES), hide_index=True, height=420, column_config=_columns(unit))


def _columns(unit: str) -> dict[str, object]:
    amount = st.column_config.NumberColumn
    return {
        "order_date": st.column_config.DateColumn("Date", format="YYYY-MM-DD"),
        "order_id": "Order",
        "customer_id": "Customer",
        "product": "Product",
        "region": "Region",
        "quantity": amount("Quantity", format="localized"),
        "amount": amount(charts.with_unit("Price", unit), format="%,.2f"),
        "line_total": amount(charts.with_unit("Revenue", unit), format="%,.2f"),
    }


def money(value: Decimal, unit: str) -> str:
    """Return an amount with two decimals, rounded half up, and its currency."""
    rounded = value.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"{'-' if rounded < 0 else ''}{SIGNS.get(unit, '')}{abs(rounded):,}"
