{{ config(tags=['documents']) }}
with named as (
  select
    *,
    regexp_replace(_source_file, '(^|/)\d{4}-\d{2}-\d{2}/', '\1', 'g') as path
  from {{ source('raw', 'documents') }}
),
newest as (
  select *
  from named
  qualify row_number() over (partition by _source, path order by _delivery desc, _position desc) = 1
)
select
  sha256(_source || '/' || path) as document_id,
  title,
  text,
  media_type,
  path as source_file,
  _file_sha256 as file_sha256,
  sha256(text) as content_hash
from newest
