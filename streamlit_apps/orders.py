"""What the sales page asks of the order lines of one release; money stays decimal until it is shown.

Flow: marts.orders.parquet → filter → totals, days, regions, products, lines
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pandas as pd
import streamlit as st

from streamlit_apps.pinned import KEPT_SECONDS, query

NOT_GIVEN = "not given"  # how a missing region or product is shown and chosen
_FILTERED = f"""
    select *, coalesce(region, '{NOT_GIVEN}') as shown_region, coalesce(product, '{NOT_GIVEN}') as shown_product
    from read_parquet($file)
    where order_date between $first and $last
      and ($region is null or coalesce(region, '{NOT_GIVEN}') = $region)
      and ($product is null or coalesce(product, '{NOT_GIVEN}') = $product)
"""


@dataclass(frozen=True)
class Extent:
    """What can be chosen: the days, regions and products of a release."""

    first: date
    last: date
    regions: tuple[str, ...]
    products: tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """The figures at the top; customers are counted as distinct over the whole filter."""

    revenue: Decimal
    orders: int
    customers: int
    lines: int

    @property
    def average(self) -> Decimal:
        """Revenue per order."""
        return self.revenue / self.orders if self.orders else Decimal(0)


@dataclass(frozen=True)
class Filter:
    """Which order lines are looked at; None: all."""

    file: str
    first: date
    last: date
    region: str | None
    product: str | None


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def extent(file: str) -> Extent | None:
    """Return what can be chosen, None when there is no order."""
    sql = f"""
        select min(order_date), max(order_date),
          list_sort(list(distinct coalesce(region, '{NOT_GIVEN}'))),
          list_sort(list(distinct coalesce(product, '{NOT_GIVEN}')))
        from read_parquet($file)
    """
    first, last, regions, products = query(sql, {"file": file}).fetchone() or (None,) * 4
    return None if first is None else Extent(first, last, tuple(regions), tuple(products))


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def totals(chosen: Filter) -> Totals:
    """Return the totals of a filter."""
    sql = f"""
        select coalesce(sum(line_total), 0), count(distinct order_id), count(distinct customer_id), count(*)
        from ({_FILTERED})
    """
    return Totals(*(query(sql, vars(chosen)).fetchone() or (Decimal(0), 0, 0, 0)))


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def by_day(chosen: Filter) -> pd.DataFrame:
    """Return day, revenue, orders and the mean of seven days; a day without orders is a zero, not a gap."""
    sql = f"""
        with sold as (
            select order_date as day, sum(line_total) as revenue, count(distinct order_id) as orders
            from ({_FILTERED}) group by order_date
        ), days as (
            select unnest(generate_series((select min(day) from sold), (select max(day) from sold),
              interval 1 day))::date as day
        )
        select day, coalesce(revenue, 0)::double as revenue, coalesce(orders, 0) as orders,
          avg(coalesce(revenue, 0)) over (order by day rows 6 preceding)::double as week
        from days left join sold using (day) order by day
    """
    return query(sql, vars(chosen)).df()


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def by_name(chosen: Filter, column: str) -> pd.DataFrame:
    """Return name, revenue, share and orders per region or product, greatest first."""
    shown = {"region": "shown_region", "product": "shown_product"}[column]
    sql = f"""
        select {shown} as name, sum(line_total)::double as revenue, count(distinct order_id) as orders,
          (sum(line_total) / nullif(sum(sum(line_total)) over (), 0))::double as share
        from ({_FILTERED}) group by all order by revenue desc, name
    """
    return query(sql, vars(chosen)).df()


@st.cache_data(ttl=KEPT_SECONDS, show_spinner=False)
def lines(chosen: Filter, limit: int | None) -> pd.DataFrame:
    """Return order lines, newest first; no limit: all of them."""
    sql = f"""
        select order_date, order_id, customer_id, product, region, quantity, amount::double as amount,
          line_total::double as line_total
        from ({_FILTERED})
        order by order_date desc, order_id desc, _row_number desc {f"limit {int(limit)}" if limit is not None else ""}
    """
    return query(sql, vars(chosen)).df()
