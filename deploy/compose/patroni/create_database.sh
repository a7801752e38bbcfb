#!/bin/sh
# Patroni calls this once, at the first leader of a new cluster, with the URL of a superuser.
set -eu
: "${DAYPASS_DB_PASSWORD:?the password of the role daypass}"
psql -q -v ON_ERROR_STOP=1 -v password="$DAYPASS_DB_PASSWORD" "$1" <<'SQL'
CREATE ROLE daypass LOGIN PASSWORD :'password';
CREATE DATABASE daypass OWNER daypass ENCODING 'UTF8' TEMPLATE template0;
SQL
