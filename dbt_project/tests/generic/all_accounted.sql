{#- Raw rows in force = staged rows + rejected rows. -#}
{% test all_accounted(model, role, rejects) %}
with counted as (
  select
    (select count(*) from {{ source('raw', role) }}) as raw_rows,
    (select count(*) from {{ model }}) as staged,
    (select count(*) from {{ ref(rejects) }} where scope = 'row') as rejected
)
select * from counted where raw_rows <> staged + rejected
{% endtest %}
