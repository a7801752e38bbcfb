#!/bin/sh
# Builds dist/daypass.pyz: the client in one file, for Linux (x86-64 and arm64) and Python 3.11 to 3.14.
# usage: deploy/client/build.sh WHEEL OUTPUT
# Everything in it is pinned by hash (requirements/client.txt). `daypass serve` is not in it.
set -eu
wheel=$1 output=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=$root/.venv/bin
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" # as pip does: a network may have a certificate authority of its own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compiled files of each Python and processor have names of their own, so one directory holds all of them.
for version in 3.11 3.12 3.13 3.14; do
    for platform in x86_64-manylinux_2_17 aarch64-manylinux_2_17; do
        "$bin/uv" pip install -q --no-deps --require-hashes --only-binary :all: --python-version "$version" \
            --python-platform "$platform" --target "$work/$version-$platform" -r "$root/requirements/client.txt"
        mkdir -p "$work/site"
        cp -R "$work/$version-$platform/." "$work/site"
    done
done
"$bin/uv" pip install -q --no-deps --python-version 3.11 --target "$work/site" "$wheel"
rm -rf "$work/site/bin" "$work/site/.lock"
# They hold the path and the time of the wheel's file.
rm -f "$work"/site/daypass-*.dist-info/direct_url.json "$work"/site/daypass-*.dist-info/uv_cache.json "$work"/site/daypass-*.dist-info/RECORD
mkdir -p "$(dirname "$output")"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000} "$bin/python" -m shiv --reproducible --compressed --site-packages "$work/site" \
    -p '/usr/bin/env python3' -e daypass.cli.main:main -o "$output" >/dev/null
"$bin/python" "$root/deploy/client/with_start.py" "$output"
