{{ config(tags=['products']) }}
{%- set parts = columns_of('products') | selectattr('in_text') | list %}
with rendered as (
  select
    sku,
    coalesce(name, sku) as title,
    concat_ws(
      e'\n\n',
      '# ' || coalesce(name, sku),
      {%- for column in parts if column.type == 'text' and column.name.startswith('description') %}
      nullif(trim("{{ column.name }}"), ''),
      {%- endfor %}
      nullif(concat_ws(
        e'\n',
        {{ quoted('- SKU: ') }} || sku
        {%- for column in parts if not (column.type == 'text' and column.name.startswith('description')) %},
        {{ quoted('- ' ~ (column.label or column.name) ~ ': ') }} || {{ shown(column) }} {%- if column.unit %} || {{ quoted(' ' ~ column.unit) }}{% endif %}
        {%- endfor %}
      ), '')
    ) as text
  from {{ ref('stg_products') }}
)
select sku as document_id, sku, title, text, sha256(text) as content_hash
from rendered
