{{ config(tags=['sales']) }}
select
  order_date,
  region,
  product,
  count(distinct order_id) as order_count,
  count(distinct customer_id) as customer_count,
  sum(quantity)::bigint as total_units,
  sum(line_total)::decimal(18, 4) as revenue,
  {{ mean_half_up('amount') }} as avg_order_value
from {{ ref('stg_sales') }}
group by order_date, region, product
