#!/bin/sh
# Removes from an installed environment what the server never reads: botocore's descriptions of other services, 25 MB.
# usage: deploy/trim.sh ENVIRONMENT
set -eu
data=$(echo "$1"/lib/python3.*/site-packages/botocore/data)
[ -d "$data/sts" ]
find "$data" -mindepth 1 -maxdepth 1 -type d ! -name sts ! -name iam ! -name rolesanywhere -exec rm -rf {} +
