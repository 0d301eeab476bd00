-- depends_on: {{ ref('stg_products') }}
{{ config(tags=['products'], rejects_of='stg_products') }}
{{ rejected('products') }}
