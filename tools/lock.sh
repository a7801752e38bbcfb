#!/bin/sh
# Resolves pyproject.toml into requirements/*.txt: every release pinned, every file by its hash, no registry named.
# dev.txt is resolved first and constrains the others, so that one release of a package serves all of them.
# `make lock` keeps the pins that still fit; `make lock ARGS=--upgrade` moves them to the newest.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-.venv/bin/uv}

lock() {
    out=requirements/$1
    shift
    "$UV" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --annotation-style line \
        -o "$out" "$@"
}

lock dev.txt pyproject.toml --extra server --group dev "$@"
lock client.txt pyproject.toml -c requirements/dev.txt
lock demo.txt pyproject.toml --extra server --group demo -c requirements/dev.txt
lock node.txt --group node
lock programs.txt --group programs "$@"
lock mcp.txt --group mcp "$@"
lock server.txt pyproject.toml --extra server -c requirements/dev.txt
