{#- Mean of a positive DECIMAL(18,4) column, rounded half up to two decimals without a float on the way:
    in hundredths of a cent, floor((2 x sum + 100 x n) / (200 x n)) is the mean in cents. -#}
{% macro mean_half_up(column) -%}
  (((2 * sum({{ column }} * 10000)::hugeint + 100 * count({{ column }})) // (200 * count({{ column }})))::decimal(18, 0) * 0.01::decimal(3, 2))::decimal(18, 4)
{%- endmacro %}
