{{ config(tags=['sales']) }}
with judged as ({{ judged('sales', sales_columns(), sales_rules()) }})
select
  c_order_id as order_id,
  c_order_line as order_line,
  c_customer_id as customer_id,
  c_order_date as order_date,
  c_product as product,
  c_quantity as quantity,
  c_amount as amount,
  c_region as region,
  year(c_order_date)::integer as order_year,
  month(c_order_date)::integer as order_month,
  quarter(c_order_date)::integer as order_quarter,
  (c_quantity * c_amount)::decimal(18, 4) as line_total,
  _file_sha256, _source_file, _sheet, _row_number
from judged
where _row_reject is null
