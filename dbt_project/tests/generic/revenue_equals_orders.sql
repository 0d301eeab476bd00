{#- Business rule: what the days add up to is what the orders add up to. -#}
{% test revenue_equals_orders(model) %}
with sums as (
  select
    coalesce((select sum(revenue) from {{ model }}), 0) as by_day,
    coalesce((select sum(line_total) from {{ ref('orders') }}), 0) as by_order
)
select * from sums where by_day <> by_order
{% endtest %}
