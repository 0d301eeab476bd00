{#- Text as delivered → typed value, by the locale that the source declares; NULL when it does not cast. -#}

{% macro quoted(text) -%}'{{ text | replace("'", "''") }}'{%- endmacro %}

{% macro text_list(values) -%}
  ({%- for value in values %}{{ quoted(value) }}{{ ", " if not loop.last }}{% endfor -%})
{%- endmacro %}

{#- The delivered text without blanks around it; NULL for the values that mean none. -#}
{% macro delivered(column, dialect) -%}
  case when trim("{{ column }}") in {{ text_list(dialect.null_values + ['']) }} then null else trim("{{ column }}") end
{%- endmacro %}

{% macro escaped(sign) -%}{{ '\\' ~ sign if sign in '.' else sign }}{%- endmacro %}

{#- Digits with or without thousands signs, as a regular expression. -#}
{% macro digits(dialect) -%}
  {%- if dialect.thousands -%}(\d{1,3}({{ escaped(dialect.thousands) }}\d{3})+|\d+){%- else -%}\d+{%- endif -%}
{%- endmacro %}

{% macro number_text(value, dialect) -%}
  {%- set sign = dialect.thousands | replace("'", "''") -%}
  {%- set plain = "replace(" ~ value ~ ", '" ~ sign ~ "', '')" if dialect.thousands else value -%}
  {%- if dialect.decimal == ',' -%}replace({{ plain }}, ',', '.'){%- else -%}{{ plain }}{%- endif -%}
{%- endmacro %}

{% macro cast_text(value, type, dialect) -%}
  {%- set d = escaped(dialect.decimal) -%}
  {%- set digits = digits(dialect) | replace("'", "''") -%}
  {%- if type == 'integer' -%}
    {#- Plain digits first: by way of a decimal takes forty times as long. -#}
    case when try_cast({{ value }} as bigint)::varchar = {{ value }} then try_cast({{ value }} as bigint)
      when regexp_full_match({{ value }}, '[+-]?{{ digits }}({{ d }}0+)?')
      then try_cast(try_cast({{ number_text(value, dialect) }} as decimal(28, 4)) as bigint) end
  {%- elif type == 'decimal' -%}
    case when regexp_full_match({{ value }}, '[+-]?({{ digits }}({{ d }}\d{0,4}0*)?|{{ d }}\d{1,4}0*)')
      then try_cast({{ number_text(value, dialect) }} as decimal(18, 4)) end
  {%- elif type == 'double' -%}
    case when regexp_full_match({{ value }}, '[+-]?({{ digits }}({{ d }}\d*)?|{{ d }}\d+)([eE][+-]?\d{1,3})?')
      then try_cast({{ number_text(value, dialect) }} as double) end
  {%- elif type == 'date' -%}
    try_cast(try_strptime({{ value }}, {{ quoted(dialect.date_format) }}) as date)
  {%- elif type == 'timestamp' -%}
    try_strptime({{ value }}, {{ quoted(dialect.timestamp_format) }})
  {%- elif type == 'boolean' -%}
    case when lower({{ value }}) in {{ text_list(dialect.true_values) }} then true
         when lower({{ value }}) in {{ text_list(dialect.false_values) }} then false end
  {%- else -%}
    {{ value }}
  {%- endif -%}
{%- endmacro %}
