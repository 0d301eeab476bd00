{#- How a typed value stands in a product's text: numbers without trailing zeros. -#}
{% macro shown(column) -%}
  {%- if column.type == 'decimal' -%}
    regexp_replace(regexp_replace("{{ column.name }}"::varchar, '(\.\d*?)0+$', '\1'), '\.$', '')
  {%- else -%}
    "{{ column.name }}"::varchar
  {%- endif -%}
{%- endmacro %}
