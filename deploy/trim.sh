#!/bin/sh
# Removes from an installed environment what the server never reads of botocore. The console describes the actions of every
# service by the newest model of each; botocore itself calls KMS, for keys there, and STS.
# usage: deploy/trim.sh ENVIRONMENT
set -eu
data=$(echo "$1"/lib/python3.*/site-packages/botocore/data)
[ -d "$data/sts" ]
find "$data" -mindepth 2 -type f ! -name service-2.json.gz ! -path "$data/kms/*" ! -path "$data/sts/*" -exec rm -f {} +
for service in "$data"/*/; do
    find "$service" -mindepth 1 -maxdepth 1 -type d | sort | sed '$d' | xargs -r rm -rf
done
