#!/bin/sh
# Sets up .venv so that `make` targets can run: "demo" (server and boto3) or "dev" (everything).
# It must never need root, nor anything but a POSIX shell, git and Python >= 3.11, and must cost next to nothing when
# there is nothing to do. Three ways lead to a virtual environment; the first that works is taken:
#   1. python -m venv                       2. python -m venv --without-pip, filled by the system's own pip
#   3. uv
# PYTHON=/path/to/python chooses the interpreter. See docs/how-to/develop.md.
set -eu

kind=${1:-}
case $kind in demo | dev) ;; *) echo "usage: tools/setup.sh demo|dev" >&2; exit 2 ;; esac
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_REQUIRE_VIRTUALENV=0
venv=.venv
venv_python=$venv/bin/python

say() { echo "setup: $*" >&2; }

# The state in which a set-up for $1 leaves .venv. The directory belongs to it: scripts and the editable install name it.
digest() {
    { pwd; cat "requirements/$1.txt" pyproject.toml tools/setup.sh; } | git hash-object --stdin
}

ready() {
    [ -f "$venv/.ready-$1" ] && [ "$(cat "$venv/.ready-$1")" = "$(digest "$1")" ]
}

# An interpreter counts only if it runs: version managers put names on PATH that lead nowhere.
suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if suitable "$candidate"; then echo "$candidate"; return; fi
    done
}

has_pip() { "$venv_python" -m pip --version >/dev/null 2>&1; }
system_pip() { "$python" -m pip --python "$venv_python" "$@"; }
has_system_pip() { [ -n "$python" ] && system_pip --version >/dev/null 2>&1; }
has_uv() { command -v uv >/dev/null 2>&1; }

# Leaves a working .venv, or says which package to install.
create() {
    if [ -n "$python" ]; then
        "$python" -m venv --clear "$venv" >/dev/null 2>&1 && has_pip && return
        "$python" -m venv --clear --without-pip "$venv" >/dev/null 2>&1 && has_system_pip && return
    fi
    has_uv && uv venv -q --clear --no-project --python "${python:->=3.11}" "$venv" && return
    rm -rf "$venv"
    if [ -z "$python" ]; then
        say "no Python 3.11 or newer found: install it (Debian, Ubuntu: python3), or name one with PYTHON=..."
    else
        say "$python cannot make virtual environments: install python3-venv (Debian, Ubuntu), or python3-pip, or uv"
    fi
    exit 1
}

install() {
    if has_pip; then "$venv_python" -m pip install -q "$@"
    elif has_system_pip; then system_pip install -q "$@"
    elif has_uv; then uv pip install -q --python "$venv_python" "$@"
    else say "$venv has no pip: remove $venv and run this again"; exit 1
    fi
}

# What was set up for dev serves the demo too: its requirements contain the demo's, at the same versions.
if suitable "$venv_python" && { ready "$kind" || ready dev; }; then exit 0; fi

python=$(find_python)
suitable "$venv_python" || create
say "installing what '$kind' needs into $venv ($("$venv_python" --version)); the first time takes a minute"
rm -f "$venv"/.ready-*
install --require-hashes --no-deps -r "requirements/$kind.txt"
install --no-build-isolation --no-deps -e .
digest "$kind" >"$venv/.ready-$kind"
say "ready"
