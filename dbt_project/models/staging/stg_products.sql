{{ config(tags=['products']) }}
with judged as ({{ judged('products') }})
select
  {%- for column in columns_of('products') %}
  "c_{{ column.name }}" as "{{ column.name }}",
  {%- endfor %}
  _file_sha256, _source_file, _sheet, _row_number
from judged
where _row_reject is null
