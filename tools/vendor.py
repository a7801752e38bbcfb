"""Fetches the vendored files of the console from npm packages, at pinned versions, and compares them with their digests.

Run it as `.venv/bin/python tools/vendor.py` to compare the files in the tree with the packages; `--write` replaces
them. To move a version, change the table, run it with `--write`, enter the printed digest, and update NOTICE.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

STATIC: Final = Path(__file__).resolve().parents[1] / "src/daypass/wire/web/static"


class Vendored(NamedTuple):
    """One file: its package with version, its path in it, and its SHA-256. Without a package: one of `BUNDLES`."""

    package: str
    path: str
    digest: str


FILES: Final = {
    "tabler.css": Vendored(
        "@tabler/core@1.6.1",
        "dist/css/tabler.min.css",
        "370a2d4e608ae518351d10528fc7dbe19b354ae5062c51b2a9cb294850d65403",
    ),
    "htmx.js": Vendored(
        "htmx.org@2.0.11", "dist/htmx.min.js", "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
    ),
    "uplot.js": Vendored(
        "uplot@1.6.32", "dist/uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
    ),
    "uplot.css": Vendored(
        "uplot@1.6.32", "dist/uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
    ),
    "codemirror.js": Vendored("", "", "5184db7d08377593eee85135d08332407e82eefc38efae8d7ee495b2e6cd9bd0"),
    "d3.js": Vendored("", "", "f24d4a38181230ed0935ba81d6714b07bda0f5da950bf89d9475d98e2ea67e8c"),
    "icons.svg": Vendored(
        "@tabler/icons@3.52.0", "icons/outline", "6ca529e50e15b4cccdd63bec7f285ef8312adfd38df78bea00e45cb0d93c355d"
    ),
}
ICONS: Final = [
    "access-point",
    "alert-triangle",
    "apps",
    "bell",
    "book-2",
    "building-bank",
    "certificate",
    "chart-bar",
    "check",
    "circle-dot",
    "clock-hour-4",
    "device-mobile",
    "eye-check",
    "hand-stop",
    "help-circle",
    "home",
    "id-badge-2",
    "inbox",
    "key",
    "list-check",
    "mail-forward",
    "menu-2",
    "pencil",
    "plug",
    "plus",
    "refresh",
    "rocket",
    "search",
    "server",
    "settings",
    "shield-lock",
    "sitemap",
    "test-pipe",
    "user",
    "users",
    "users-group",
    "x",
]
"""The icons of the sprite `icons.svg`, by their names in the package."""


class Bundle(NamedTuple):
    """A script that sets `name`. `code`: its packages, and what our scripts use of each. `needs`: what these packages need, at
    exact versions, because the bundle has a digest.
    """

    name: str
    code: dict[str, str]
    needs: tuple[str, ...]


ESBUILD: Final = "esbuild@0.25.8"
BUNDLES: Final = {
    "codemirror.js": Bundle(
        "CodeMirror",
        {
            "@codemirror/autocomplete@6.20.4": "autocompletion, completionKeymap",
            "@codemirror/commands@6.11.1": "defaultKeymap, history, historyKeymap",
            "@codemirror/lang-json@6.0.2": "json, jsonParseLinter",
            "@codemirror/language@6.13.1": "HighlightStyle, bracketMatching, syntaxHighlighting, syntaxTree",
            "@codemirror/lint@6.9.8": "lintGutter, linter",
            "@codemirror/state@6.7.6": "EditorState",
            "@codemirror/view@6.43.15": "EditorView, keymap, lineNumbers",
            "@lezer/highlight@1.2.5": "tags",
        },
        ("@lezer/common@1.5.5", "@lezer/json@1.0.3", "@lezer/lr@1.4.12", "style-mod@4.1.5", "w3c-keyname@2.2.8",
         "crelt@1.0.7", "@marijn/find-cluster-break@1.0.4"),
    ),
    "d3.js": Bundle(
        "d3",
        {"d3-selection@3.0.1": "select", "d3-zoom@3.0.1": "zoom, zoomIdentity, zoomTransform"},
        ("d3-color@3.1.1", "d3-dispatch@3.0.2", "d3-drag@3.0.1", "d3-ease@3.0.2", "d3-interpolate@3.0.2", "d3-timer@3.0.2",
         "d3-transition@3.0.2"),
    ),
}  # fmt: skip


def fetched(package: str, folder: Path) -> dict[str, bytes]:
    """The files of an npm package, by path."""
    command = ["npm", "pack", "--silent", package]
    name = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()[-1]
    found = {}
    with tarfile.open(fileobj=io.BytesIO((folder / name).read_bytes())) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                found[member.name.removeprefix("package/")] = file.read()
    return found


def sprite(files: dict[str, bytes], folder: str) -> bytes:
    """One SVG file with each icon as a symbol, by its name. Of each icon only the paths are kept."""
    parts = ['<svg xmlns="http://www.w3.org/2000/svg">']
    for name in ICONS:
        inner = re.search(r"<svg[^>]*>(.*)</svg>", files[f"{folder}/{name}.svg"].decode(), re.DOTALL)
        assert inner is not None, name
        paths = re.sub(r"\s*\n\s*", "", inner[1]).replace(" />", "/>")
        parts.append(f'<symbol id="{name}" viewBox="0 0 24 24">{paths}</symbol>')
    return "\n".join([*parts, "</svg>\n"]).encode()


def bundled(bundle: Bundle, folder: Path) -> bytes:
    """The packages as one script."""
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    packages = [*bundle.code, *bundle.needs, ESBUILD]
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--save-exact", *packages]
    subprocess.run(install, cwd=folder, check=True)
    lines = [f'export {{ {names} }} from "{package.rpartition("@")[0]}";' for package, names in bundle.code.items()]
    (folder / "entry.js").write_text("\n".join(lines))
    build = ["node_modules/.bin/esbuild", "entry.js", "--bundle", "--minify", "--legal-comments=none"]
    build += ["--format=iife", f"--global-name={bundle.name}"]
    return subprocess.run(build, cwd=folder, capture_output=True, check=True).stdout


def main() -> int:
    """Compares or writes the files. Returns 1 when one differs from the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the files in the tree")
    write = parser.parse_args().write
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        names = {file.package for file in FILES.values()} - {""}
        packages = {package: fetched(package, Path(folder)) for package in names}
        bundles = {name: bundled(bundle, Path(folder) / name) for name, bundle in BUNDLES.items()}
    for name, file in FILES.items():
        if name == "icons.svg":
            body = sprite(packages[file.package], file.path)
        else:
            body = bundles[name] if name in bundles else packages[file.package][file.path]
        digest = hashlib.sha256(body).hexdigest()
        if write:
            (STATIC / name).write_bytes(body)
        if digest != file.digest or (STATIC / name).read_bytes() != body:
            print(f"{name}: the package has {digest}, the table {file.digest}")
            differing += 1
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
