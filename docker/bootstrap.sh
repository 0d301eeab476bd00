#!/bin/sh
# One shot, safe to repeat: the operator's secrets as files, Airflow's tables, every customer's catalog and buckets,
# and to workers and dashboards the secrets that they need and no others.
set -eu
umask 077
operator="$CRADLE_SECRETS/_operator/any"
mkdir -p "$operator" /var/lib/cradle/workers /var/lib/cradle/dashboards
secret() { cat "/run/secrets/$1"; }
printf '{"client_id": "root", "client_secret": "%s"}' "$(secret polaris_root)" > "$operator/polaris.json"
printf '{"access_key": "operator", "secret_key": "%s"}' "$(secret s3_operator)" > "$operator/s3.json"
printf '{"user": "cradle", "password": "%s"}' "$(secret postgres_cradle)" > "$operator/database.json"
# The passwords of other users, which Airflow made up at its first start with them, stay as they are.
python - "$AIRFLOW_HOME/passwords.json" /run/secrets/airflow_admin <<'MERGE'
import json, pathlib, sys
path, admin = map(pathlib.Path, sys.argv[1:])
known = json.loads(path.read_text()) if path.is_file() else {}
path.write_text(json.dumps(known | {"admin": admin.read_text().strip()}))
MERGE

airflow db migrate
python -m cradle.cli.airflow
cradle customers provision
cradle customers hand-out pipeline --to /var/lib/cradle/workers
cradle customers hand-out analyst --to /var/lib/cradle/dashboards
echo "bootstrap: done"
