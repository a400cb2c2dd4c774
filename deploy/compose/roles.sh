#!/bin/sh
# Makes the two roles that work beside the owner of the tables. Postgres runs it once, on an empty volume.
# What they may is granted by `orloj migrate`, at every upgrade.
set -eu
for role in server maintenance; do
  psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set role="orloj_$role" --set password="$(cat "/run/secrets/${role}_password")" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
SQL
done
