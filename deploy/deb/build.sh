#!/bin/sh
# Builds a Debian package of server and client, with its own environment in /usr/lib/daypass on the system's Python.
# usage: deploy/deb/build.sh WHEEL OUTPUT_DIRECTORY
# PYTHON chooses the interpreter that it is for (default: /usr/bin/python3). Needs dpkg-deb; no root.
# The same wheel and SOURCE_DATE_EPOCH give the same bytes.
set -eu
wheel=$1 out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/deploy/deb
python=${PYTHON:-/usr/bin/python3}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1700000000}" UV_LINK_MODE=copy # the times of linked files are uv's
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" # as pip does: a network may have a certificate authority of its own
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(basename "$wheel" | sed 's/^daypass-\([^-]*\)-.*/\1/')
minor=$("$python" -c 'import sys; assert sys.version_info >= (3, 11); print(sys.version_info.minor)')
maintainer=$("$python" - "$root/pyproject.toml" <<'PYTHON'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    first = tomllib.load(file)["project"]["maintainers"][0]
print(first["name"])
PYTHON
)
package=$work/package
venv=$package/usr/lib/daypass

"$python" -m venv --without-pip "$venv"
"$root/.venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps --require-hashes --only-binary :all: \
    -r "$root/requirements/server.txt"
"$root/.venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps "$wheel"
sh "$root/deploy/trim.sh" "$venv"
# The directory it is built in must not show: commands start the interpreter where the package puts it.
find "$venv/bin" -type f ! -name daypass -exec rm -f {} +
ln -sf "/usr/bin/python3.$minor" "$venv/bin/python3"
ln -sf python3 "$venv/bin/python"
find "$venv/bin" -name "python3.*" -exec ln -sf python3 {} \;
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.%s\n' "$minor" >"$venv/pyvenv.cfg"
printf '%s\n' '#!/usr/lib/daypass/bin/python3 -I' 'import sys' 'from daypass.cli.main import main' 'sys.exit(main())' >"$venv/bin/daypass"
chmod 755 "$venv/bin/daypass"
complete() {  # complete SHELL FILE: the completion script of a shell, where that shell looks for it
    mkdir -p "$(dirname "$package/usr/share/$2")"
    "$venv/bin/python3" -IB "$venv/bin/daypass" completion "$1" >"$package/usr/share/$2"
    chmod 644 "$package/usr/share/$2"
}
complete bash bash-completion/completions/daypass
complete zsh zsh/vendor-completions/_daypass
complete fish fish/vendor_completions.d/daypass.fish
find "$venv" -name __pycache__ -type d -prune -exec rm -rf {} +
find "$venv" -path '*.dist-info/*' \( -name RECORD -o -name direct_url.json -o -name uv_cache.json -o -name REQUESTED \) -exec rm -f {} +
rm -f "$venv/.lock" "$venv/.gitignore"

install -D -m 644 "$root/deploy/systemd/daypass.service" "$package/usr/lib/systemd/system/daypass.service"
install -D -m 644 "$here/sysusers.conf" "$package/usr/lib/sysusers.d/daypass.conf"
install -D -m 640 "$here/daypass.toml" "$package/etc/daypass/daypass.toml"
install -D -m 644 "$root/LICENSE" "$package/usr/share/doc/daypass/copyright"
mkdir -p "$package/usr/bin" "$package/DEBIAN"
mv "$venv/share/man" "$package/usr/share/man"
rmdir "$venv/share"
ln -s ../lib/daypass/bin/daypass "$package/usr/bin/daypass"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$package/DEBIAN/"
echo /etc/daypass/daypass.toml >"$package/DEBIAN/conffiles"
cat >"$package/DEBIAN/control" <<CONTROL
Package: daypass
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Section: admin
Priority: optional
Installed-Size: $(find "$package" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
Depends: python3.$minor, systemd | adduser
Description: self-hosted assume-role service
 Speaks AWS STS and IAM: short-lived, narrow credentials that can be revoked, and
 a complete record. Holds the server, the command line and the Python packages
 that they need.
CONTROL
find "$package" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
dpkg-deb --root-owner-group -Zzstd --build "$package" "$out/daypass_${version}_$(dpkg --print-architecture).deb" >/dev/null
