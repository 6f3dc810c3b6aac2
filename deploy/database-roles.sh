#!/bin/sh
# Run once by the image of PostgreSQL when it makes its database: the service's own login, which may add to the log
# and neither change nor remove what is in it. `migrate` grants the rest to tenure_app.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/service_password)" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE tenure_app NOLOGIN;
CREATE ROLE tenure_service LOGIN PASSWORD :'password' IN ROLE tenure_app;
SQL
