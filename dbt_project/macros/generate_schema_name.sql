{#- A schema is a layer; dbt's own rule would join target and custom name (`staging_staging`). -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}
