{#- A column that the customer declares as required, or as part of the key, is never NULL. -#}
{% test declared_not_null(model, column_name, role) %}
{%- set spec = var('roles', {}).get(role, {'columns': [], 'key': []}) %}
{%- set required = spec.columns | selectattr('name', 'equalto', column_name) | selectattr('required') | list | length > 0 %}
select * from {{ model }}
where {{ column_name }} is null and {{ 'true' if required or column_name in spec.key else 'false' }}
{% endtest %}
