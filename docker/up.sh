#!/bin/sh
# Starts the stack and waits until every service does its job. Secrets are made once and never printed but the first
# password of Airflow.
set -eu
cd "$(dirname "$0")"
random() { od -An -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }
base64url() { head -c "$1" /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

if [ ! -f .env ]; then
  ( umask 077
    postgres=$(random 24) polaris_db=$(random 24) airflow_db=$(random 24) root=$(random 24) s3=$(random 24)
    cat > .env.part <<ENV
# Secrets of this stack, made at random by \`make up\`. Keep them like the data: without them the volumes are worth nothing.
POSTGRES_SECRET=$postgres
POSTGRES_POLARIS_SECRET=$polaris_db
POSTGRES_AIRFLOW_SECRET=$airflow_db
POSTGRES_CRADLE_SECRET=$(random 24)
POLARIS_ROOT_SECRET=$root
POLARIS_PROPERTIES="quarkus.datasource.password=$polaris_db
polaris.bootstrap.credentials=POLARIS,root,$root
polaris.authentication.token-broker.symmetric-key.secret=$(random 32)
"
POLARIS_S3_CREDENTIALS="[default]
aws_access_key_id=polaris
aws_secret_access_key=$s3
"
S3_OPERATOR_SECRET=$(random 24)
S3_POLARIS_SECRET=$s3
S3_SIGNING_KEY=$(random 32 | base64 | tr -d '\n')
AIRFLOW_DATABASE=postgresql+psycopg2://airflow:$airflow_db@postgres:5432/airflow
AIRFLOW_FERNET_SECRET=$(base64url 32)
AIRFLOW_API_SECRET=$(random 32)
AIRFLOW_JWT_SECRET=$(random 64)
AIRFLOW_ADMIN_PASSWORD=$(random 9)
ENV
    mv .env.part .env )
fi

set -a
. ./.env  # also what was added to it by hand: ports, images
set +a

gpu=""
[ -z "${GPU:-}" ] || gpu="--profile gpu"
# shellcheck disable=SC2086  (two words)
docker compose $gpu up -d --wait --wait-timeout "${WAIT_SECONDS:-600}" ${GPU:+--scale airflow-scheduler=0} \
  postgres seaweedfs polaris airflow-api airflow-scheduler${GPU:+-gpu} airflow-dag-processor airflow-triggerer \
  streamlit watchdog

echo
echo "Airflow     http://127.0.0.1:${AIRFLOW_PORT:-8080}    user admin, password $AIRFLOW_ADMIN_PASSWORD"
echo "Dashboards  http://127.0.0.1:${STREAMLIT_PORT:-8501}"
echo "S3          http://127.0.0.1:${S3_PORT:-8333}    Polaris http://127.0.0.1:${POLARIS_PORT:-8181}"
echo "Next: make demo STACK=services"
