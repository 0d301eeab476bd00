{#- Every raw row of a role as of the date, typed and judged.

    Columns: the typed columns, the lineage, `_row_reject` (NULL, or what is wrong with the row as a struct) and
    `_cell_rejects` (list of structs). A good row has a NULL `_row_reject`. Rows are ranked by their keys and places alone
    and streamed by: a window over all columns would hold all of them. -#}

{% macro role(name) -%}
  {{ return(var('roles', {}).get(name, {'columns': [], 'sources': [], 'key': []})) }}
{%- endmacro %}

{% macro columns_of(role_name, wanted=none) -%}
  {#- The columns to type: `wanted` (name → type) for a fixed model, else all that the customer declares. -#}
  {%- set declared = role(role_name).columns -%}
  {%- if wanted is none -%}{{ return(declared) }}{%- endif -%}
  {%- set found = [] -%}
  {%- for name, type in wanted.items() -%}
    {%- set mine = declared | selectattr('name', 'equalto', name) | list -%}
    {%- do found.append({'name': name, 'type': type, 'required': mine[0].required if mine else false, 'declared': mine | length > 0}) -%}
  {%- endfor -%}
  {{ return(found) }}
{%- endmacro %}

{% macro by_source(role_name, column, type, kind) -%}
  {%- set sources = role(role_name).sources -%}
  {%- set ns = namespace(parts=[]) -%}
  {%- for source in sources -%}
    {%- if kind == 'text' -%}
      {%- do ns.parts.append([source.name, delivered(column, source.dialect)]) -%}
    {%- else -%}
      {%- do ns.parts.append([source.name, cast_text('"t_' ~ column ~ '"', type, source.dialect)]) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- set distinct = ns.parts | map(attribute=1) | unique | list -%}
  {%- if distinct | length == 1 -%}{{ distinct[0] }}
  {%- else -%}case _source{% for part in ns.parts %} when {{ quoted(part[0]) }} then {{ part[1] }}{% endfor %} end
  {%- endif -%}
{%- endmacro %}

{% macro judged(role_name, wanted=none, rules=[]) -%}
{%- set columns = columns_of(role_name, wanted) -%}
{%- set declared = columns | rejectattr('declared', 'equalto', false) | list -%}
{%- set key = role(role_name).key -%}
{%- set reason = {'integer': 'not_an_integer', 'decimal': 'not_a_decimal', 'double': 'not_a_number', 'date': 'not_a_date',
                  'timestamp': 'not_a_timestamp', 'boolean': 'not_a_boolean'} -%}
with as_of as not materialized (
  select * from {{ source('raw', role_name) }}
),
texts as not materialized (
  select * {% for column in declared %},
    {{ by_source(role_name, column.name, column.type, 'text') }} as "t_{{ column.name }}"
  {%- endfor %}
  from as_of
),
typed as not materialized (
  select * {% for column in declared %},
    {{ by_source(role_name, column.name, column.type, 'cast') }} as "c_{{ column.name }}"
  {%- endfor %}
  {%- for column in columns if column.declared is defined and not column.declared %},
    null::{{ sql_type(column.type) }} as "c_{{ column.name }}"
  {%- endfor %}
  from texts
),
checked as not materialized (
  select *,
    coalesce(
      {%- for column in declared if column.required or column.name in key %}
      case when "t_{{ column.name }}" is null then {{ reject(column.name, '""', 'missing_required') }}
        {%- if column.type in reason %}
           when "c_{{ column.name }}" is null then {{ reject(column.name, '"t_' ~ column.name ~ '"', reason[column.type]) }}
        {%- endif %} end,
      {%- endfor %}
      {%- for rule in rules %}
      case when {{ rule.bad }} then {{ reject(rule.column, '"t_' ~ rule.column ~ '"' if columns | selectattr('name', 'equalto', rule.column) | selectattr('declared', 'ne', false) | list else '""', rule.reason) }} end,
      {%- endfor %}
      null
    ) as _fault,
    list_filter([
      {%- for column in declared if column.type in reason and not (column.required or column.name in key) %}
      case when "t_{{ column.name }}" is not null and "c_{{ column.name }}" is null
        then {{ reject(column.name, '"t_' ~ column.name ~ '"', reason[column.type]) }} end,
      {%- endfor %}
      null
    ], lambda one: one is not null) as _cell_rejects
  from typed
),
{%- if key %}
places as (
  select _step_key, _delivery, _position, _sheet, _row_number,
    row_number() over same_key as _rank,
    first_value(_delivery) over same_key as _winner
  from checked
  window same_key as (
    partition by _fault is null{% for name in key %}, "c_{{ name }}"{% endfor %}
    order by _delivery desc, _position, _sheet, _row_number
    rows between unbounded preceding and unbounded following
  )
),
ranked as (
  select checked.*, places._rank, places._winner
  from checked join places
    on checked._step_key = places._step_key and checked._delivery = places._delivery
    and checked._position = places._position and checked._sheet is not distinct from places._sheet
    and checked._row_number = places._row_number
)
{%- else %}
ranked as (
  select *, 1 as _rank, _delivery as _winner from checked
)
{%- endif %}
select * exclude (_fault, _rank, _winner),
  case
    when _fault is not null then _fault
    {%- if key %}
    when _rank > 1 and _winner > _delivery then {{ reject(key[0], '"t_' ~ key[0] ~ '"', 'superseded') }}
    when _rank > 1 then {{ reject(key[0], '"t_' ~ key[0] ~ '"', 'duplicate_key') }}
    {%- endif %}
  end as _row_reject
from ranked
{%- endmacro %}

{% macro reject(column, value, reason) -%}
  {'column': {{ quoted(column) }}, 'value': {{ "null::varchar" if value == '""' else value }}, 'reason': {{ quoted(reason) }}}
{%- endmacro %}

{% macro sql_type(type) -%}
  {{ {'integer': 'bigint', 'decimal': 'decimal(18, 4)', 'double': 'double', 'date': 'date', 'timestamp': 'timestamp',
      'boolean': 'boolean'}.get(type, 'varchar') }}
{%- endmacro %}

{#- The rejects of a judged role, in the columns of `ops.rejects` that SQL knows; the plugin adds stage, step, key. -#}
{% macro rejected(role_name, wanted=none, rules=[]) -%}
with judged as ({{ judged(role_name, wanted, rules) }}),
listed as (
  select _file_sha256, _source_file, _sheet, _row_number, 'row' as scope, _row_reject as one from judged where _row_reject is not null
  union all
  select _file_sha256, _source_file, _sheet, _row_number, 'cell' as scope, unnest(_cell_rejects) as one from judged
  where _row_reject is null
)
select
  scope,
  _file_sha256 as file_sha256,
  _source_file as source_file,
  _sheet as sheet,
  _row_number as row_number,
  one."column" as "column",
  one."value" as "value",
  one.reason as reason,
  concat(
    _source_file, coalesce(', sheet ' || _sheet, ''), ', row ', _row_number, ', column ', one."column", ': ',
    case one.reason
      when 'missing_required' then 'a value is required and none is there. Complete the row'
      when 'duplicate_key' then 'the key stands in an earlier row too; that row is kept. Remove one of them'
      when 'superseded' then 'a newer delivery brings this key again; the newer row is kept'
      when 'not_positive' then 'must be greater than zero'
      when 'too_large' then 'quantity times amount needs more than 18 digits. Mend the value'
      else 'does not fit the declared type and locale (' || one.reason || '). Mend the value, or the dialect in the YAML'
    end,
    coalesce(' (value: ' || one."value" || ')', '')
  ) as message
from listed
{%- endmacro %}

{% macro sales_columns() -%}
  {{ return({'order_id': 'text', 'order_line': 'integer', 'customer_id': 'text', 'order_date': 'date', 'product': 'text',
             'quantity': 'integer', 'amount': 'decimal', 'region': 'text'}) }}
{%- endmacro %}

{% macro sales_rules() -%}
  {{ return([
    {'column': 'order_date', 'bad': '"c_order_date" is null', 'reason': 'missing_required'},
    {'column': 'quantity', 'bad': '"c_quantity" is null', 'reason': 'missing_required'},
    {'column': 'amount', 'bad': '"c_amount" is null', 'reason': 'missing_required'},
    {'column': 'quantity', 'bad': '"c_quantity" <= 0', 'reason': 'not_positive'},
    {'column': 'amount', 'bad': '"c_amount" <= 0', 'reason': 'not_positive'},
    {'column': 'amount', 'bad': 'try_cast("c_quantity" * "c_amount" as decimal(18, 4)) is null', 'reason': 'too_large'}
  ]) }}
{%- endmacro %}
