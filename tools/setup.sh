#!/bin/sh
# Sets up .venv so that `make` targets can run: "demo" (server and boto3) or "dev" (everything for fast tests and checks).
# "programs" adds the real programs of slow tests and some demos to either.
# It must never need root, nor anything but a POSIX shell, git and Python >= 3.11, and must cost next to nothing when
# there is nothing to do. Three ways lead to a virtual environment; the first that works is taken:
#   1. python -m venv                       2. python -m venv --without-pip, filled by the system's own pip
#   3. uv
# It takes the newest interpreter from 3.14 to 3.11 that it finds, optimised builds first. PYTHON=/path/to/python
# chooses another. An existing .venv keeps its interpreter. See docs/how-to/develop.md.
set -eu

kind=${1:-}
case $kind in demo | dev | programs) ;; *) echo "usage: tools/setup.sh demo|dev|programs" >&2; exit 2 ;; esac
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

# Paths of interpreters: $PYTHON alone if it is set, else those on PATH and those of pyenv.
candidates() (
    if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"; return; fi
    IFS=:
    for directory in $PATH; do
        for name in python3.14 python3.13 python3.12 python3.11 python3; do
            if [ -x "$directory/$name" ]; then echo "$directory/$name"; fi
        done
    done
    for path in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python3; do
        if [ -x "$path" ]; then echo "$path"; fi
    done
)

# "BUILD MINOR PATH" of an interpreter that can be used. Builds of distributions are optimised (by profile), but do not
# record how they were configured. Debug builds and those without the GIL are not used.
probe() {
    "$1" -c '
import sys, sysconfig
value = sysconfig.get_config_var
if sys.version_info < (3, 11) or value("Py_DEBUG") or value("Py_GIL_DISABLED"):
    sys.exit(1)
optimised = "--enable-optimizations" in (value("CONFIG_ARGS") or "") or sys.base_prefix == "/usr"
print("optimised" if optimised else "plain", sys.version_info[1], sys.argv[1])' "$1" 2>/dev/null
}

# The usable interpreters, the best first. Versions later than 3.14 come last: nothing was tested with them.
ranked() {
    probed=$(candidates | while read -r path; do probe "$path" || true; done)
    for build in optimised plain; do
        for minor in 14 13 12 11; do echo "$probed" | sed -n "s/^$build $minor //p"; done
    done
    echo "$probed" | sed -n -e '/^[a-z]* 1[1-4] /d' -e 's/^[a-z]* [0-9]* //p'
}

has_pip() { "$venv_python" -m pip --version >/dev/null 2>&1; }
system_pip() { "$python" -m pip --python "$venv_python" "$@"; }
has_system_pip() { [ -n "$python" ] && system_pip --version >/dev/null 2>&1; }
has_uv() { command -v uv >/dev/null 2>&1; }

# Makes .venv with $python, in the first way that works.
create_with() {
    if [ -n "$python" ]; then
        "$python" -m venv --clear "$venv" >/dev/null 2>&1 && has_pip && return
        "$python" -m venv --clear --without-pip "$venv" >/dev/null 2>&1 && has_system_pip && return
    fi
    has_uv && uv venv -q --clear --no-project --python "${python:->=3.11}" "$venv"
}

# Leaves a working .venv, or says which package to install.
create() {
    best=$python
    IFS='
'
    for python in ${interpreters:-""}; do
        unset IFS
        if create_with; then return; fi
    done
    unset IFS
    python=$best
    rm -rf "$venv"
    if [ -z "$python" ]; then
        say "no Python 3.11 or newer found: install it (Debian, Ubuntu: python3), or name one with PYTHON=..."
    else
        say "$python cannot make virtual environments: install python3-venv (Debian, Ubuntu), or python3-pip, or uv"
    fi
    exit 1
}

# The interpreter of .venv: "Python 3.13.5, optimised, /usr/bin/python3.13".
describe() {
    found=$(probe "$venv_python") || found="unknown"
    echo "$("$venv_python" --version), ${found%% *}, $("$venv_python" -c 'import sys; print(sys._base_executable)')"
}

install() {
    if has_pip; then "$venv_python" -m pip install -q "$@"
    elif has_system_pip; then system_pip install -q "$@"
    elif has_uv; then uv pip install -q --python "$venv_python" "$@"
    else say "$venv has no pip: remove $venv and run this again"; exit 1
    fi
}

if [ "$kind" = programs ]; then
    if ready programs; then exit 0; fi
    python=""
    say "installing programs into $venv: some hundred megabytes"
    install --require-hashes --no-deps -r requirements/programs.txt
    digest programs >"$venv/.ready-programs"
    exit 0
fi

# What was set up for dev serves the demo too: its requirements contain the demo's, at the same versions.
if suitable "$venv_python" && { ready "$kind" || ready dev; }; then exit 0; fi

interpreters=$(ranked)
python=$(echo "$interpreters" | sed -n 1p)
suitable "$venv_python" || create
say "installing what '$kind' needs into $venv ($(describe)); the first time takes a minute"
rm -f "$venv"/.ready-*
install --require-hashes --no-deps -r "requirements/$kind.txt"
install --no-build-isolation --no-deps -e .
digest "$kind" >"$venv/.ready-$kind"
say "ready"
