{#- The declared key of a role is unique; without one the lineage is. -#}
{% test unique_key(model, role) %}
{%- set key = var('roles', {}).get(role, {}).get('key', []) or ['_file_sha256', '_sheet', '_row_number'] %}
select {{ key | join(', ') }}, count(*) as times
from {{ model }}
group by all
having count(*) > 1
{% endtest %}
