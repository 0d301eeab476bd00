-- depends_on: {{ ref('stg_sales') }}
{{ config(tags=['sales'], rejects_of='stg_sales') }}
{{ rejected('sales', sales_columns(), sales_rules()) }}
