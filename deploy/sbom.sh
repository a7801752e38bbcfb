#!/bin/sh
# Writes the software bill of materials: CycloneDX 1.6 as JSON, of what requirements/server.txt pins, hashes included.
# usage: deploy/sbom.sh OUTPUT
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$(dirname "$1")"
"$root/.venv/bin/python" -W ignore::UserWarning -m cyclonedx_py requirements --output-reproducible --spec-version 1.6 --output-format JSON \
    --pyproject "$root/pyproject.toml" --mc-type application -o "$1" "$root/requirements/server.txt"
