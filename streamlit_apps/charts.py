"""The look of the charts: one accent colour, quiet axes, figures with thousands separators."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

ACCENT = "#0F6E84"
PALE = "#A9CBD4"
INK = "#1D2B36"
QUIET = "#5F7180"
GRID = "#E8EDF1"
BAR_HEIGHT = 30
MOST_BARS = 15


def trend(days: pd.DataFrame, unit: str) -> Any:
    """Draw revenue per day, and its mean of seven days on top."""
    x = alt.X("day:T", title=None, axis=alt.Axis(format="%d %b %Y" if _years(days) else "%d %b", tickCount=8))
    tips = [
        alt.Tooltip("day:T", title="Day", format="%A, %d %B %Y"),
        alt.Tooltip("revenue:Q", title=with_unit("Revenue", unit), format=",.2f"),
        alt.Tooltip("orders:Q", title="Orders", format=",d"),
        alt.Tooltip("week:Q", title="Mean of 7 days", format=",.2f"),
    ]
    near = alt.selection_point(nearest=True, on="pointerover", fields=["day"], empty=False, clear="pointerout")
    base = alt.Chart(days).encode(x=x)
    revenue = alt.Y("revenue:Q", title=with_unit("Revenue", unit), axis=_money())
    day = base.mark_line(color=PALE, strokeWidth=1.5, interpolate="linear").encode(y=revenue)
    week = base.mark_line(color=ACCENT, strokeWidth=2.75, interpolate="monotone").encode(y="week:Q")
    rule = base.mark_rule(color=QUIET, strokeDash=[2, 3]).encode(
        opacity=alt.condition(near, alt.value(0.8), alt.value(0)), tooltip=tips
    )
    dots = base.mark_point(color=ACCENT, filled=True, size=70).encode(
        y=revenue, opacity=alt.condition(near, alt.value(1), alt.value(0))
    )
    return _quiet(alt.layer(day, week, rule.add_params(near), dots).properties(height=300))


def bars(names: pd.DataFrame, title: str, unit: str) -> Any:
    """Draw revenue per name, greatest at the top, each bar with its figure."""
    shown = names.head(MOST_BARS)
    order = list(shown["name"])
    top = float(shown["revenue"].max()) if len(shown) else 0.0
    base = alt.Chart(shown).encode(
        y=alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False)),
        x=alt.X(
            "revenue:Q",
            title=with_unit("Revenue", unit),
            axis=_money(),
            scale=alt.Scale(domain=[0, top * 1.16] if top > 0 else alt.Undefined, nice=False),
        ),
        tooltip=[
            alt.Tooltip("name:N", title=title),
            alt.Tooltip("revenue:Q", title=with_unit("Revenue", unit), format=",.2f"),
            alt.Tooltip("share:Q", title="Share", format=".1%"),
            alt.Tooltip("orders:Q", title="Orders", format=",d"),
        ],
    )
    bar = base.mark_bar(color=ACCENT, cornerRadiusEnd=3, height={"band": 0.68})
    text = base.mark_text(align="left", dx=6, color=INK, fontSize=12).encode(text=alt.Text("revenue:Q", format=",.0f"))
    return _quiet(alt.layer(bar, text).properties(height=max(len(shown), 2) * BAR_HEIGHT + 30))


def with_unit(title: str, unit: str) -> str:
    """Return a title with its unit, when there is one."""
    return f"{title} ({unit})" if unit else title


def _years(days: pd.DataFrame) -> bool:
    return len(days) > 0 and days["day"].dt.year.nunique() > 1


def _money() -> Any:
    label = "datum.value == 0 ? '0' : format(datum.value, '~s')"
    return alt.Axis(labelExpr=label, tickCount=5, domain=False, ticks=False)


def _quiet(chart: Any) -> Any:
    return (
        chart.configure_view(strokeWidth=0)
        .configure_axis(
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            labelColor=QUIET,
            titleColor=QUIET,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelPadding=6,
            titlePadding=10,
        )
        .configure_axisX(labelFlush=True)
    )
