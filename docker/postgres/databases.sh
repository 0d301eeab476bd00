#!/bin/sh
# Run once by PostgreSQL's image on an empty volume: a database and a login for each of those that need one.
set -eu
for name in polaris airflow cradle; do
  psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v name="$name" \
    -v secret="$(cat "/run/secrets/postgres_$name")" <<'SQL'
create role :"name" login password :'secret';
create database :"name" owner :"name" encoding 'UTF8' template template0;
revoke connect on database :"name" from public;
SQL
done
