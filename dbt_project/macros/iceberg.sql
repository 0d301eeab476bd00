{#- A model becomes one Iceberg commit on the branch of the run's date; the plugin decides whether it must be computed. -#}
{% materialization iceberg, adapter="duckdb", supported_languages=['sql'] %}
  {%- set target = this.incorporate(type='view') -%}
  {%- set tmp = this.identifier ~ '__dbt_tmp' -%}
  {%- set tmp_relation = api.Relation.create(database=this.database, schema=this.schema, identifier=tmp, type='view') -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% call statement('main') -%}
    create or replace view {{ tmp_relation }} as ({{ compiled_code }})
  {%- endcall %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {% do adapter.store_relation('lake', target, [], tmp, 'iceberg', config) %}
  {% call statement('drop_tmp') -%} drop view if exists {{ tmp_relation }} {%- endcall %}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}
