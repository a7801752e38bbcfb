#!/bin/sh
# Installs the stock JavaScript clients and identity providers that tests run against Daypass, into tests/js/node_modules.
# Node comes from PATH where it is new enough, else from a wheel in .venv. Tests that need it are skipped without it.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
folder=tests/js
stamp=$folder/node_modules/.installed

say() { echo "setup: $*" >&2; }

wanted() { git hash-object --stdin <$folder/package-lock.json; }
[ -f $stamp ] && [ "$(cat $stamp)" = "$(wanted)" ] && exit 0

if ! $python tests/node.py --find >/dev/null; then
    $python -m pip install -q --require-hashes --no-deps -r requirements/node.txt || {
        say "there is no Node, and its wheel cannot be installed: tests of JavaScript clients will be skipped"
        exit 0
    }
fi
say "installing the JavaScript clients that tests use into $folder"
if $python tests/node.py --npm ci --prefix $folder >/dev/null; then
    wanted >$stamp
else
    say "npm cannot install them: tests of JavaScript clients will be skipped"
fi
