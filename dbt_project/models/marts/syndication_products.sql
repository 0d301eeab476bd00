{{ config(tags=['products']) }}
select
  {%- for column in columns_of('products') %}
  "{{ column.name }}",
  {%- endfor %}
  _source_file,
  _row_number,
  _file_sha256
from {{ ref('stg_products') }}
