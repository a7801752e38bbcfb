"""Checks beyond import-linter: which names the domain may use, and what the client and the command line load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.packaging.machine import ROOT

SRC = ROOT / "src/daypass"
MODULES = {
    ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SRC.rglob("*.py")
}
DOMAIN = sorted((SRC / "domain").rglob("*.py"))
# msgspec, and the standard library as far as it is pure: no I/O, no clock, no randomness.
_PURE = {
    "__future__", "abc", "base64", "bisect", "binascii", "collections", "contextlib", "contextvars", "copy", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "hashlib", "hmac", "ipaddress", "itertools", "json", "math", "msgspec", "operator", "re", "string", "struct",
    "types", "typing", "unicodedata", "zlib",
}  # fmt: skip
_CLOCKS = {"now", "utcnow", "today"}
_SERVER_ONLY = (
    "alembic", "botocore", "cryptography", "fastapi", "prometheus_client", "psycopg", "pydantic", "sqlalchemy", "starlette",
    "structlog", "uvicorn", "uvloop", "daypass.crypto", "daypass.federation", "daypass.operations", "daypass.ports",
    "daypass.server", "daypass.stores", "daypass.wire",
)  # fmt: skip


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text("utf-8")))


@cache
def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in nodes(path) if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(path: Path) -> Iterator[str]:
    for node in imports(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield node.module or ""


@pytest.mark.parametrize("path", DOMAIN, ids=lambda p: str(p.relative_to(SRC)))
def test_domain_module_imports_only_the_domain_msgspec_and_pure_standard_library(path: Path) -> None:
    foreign = {
        name for name in imported(path) if name.partition(".")[0] not in _PURE and not name.startswith("daypass.domain")
    }
    assert not foreign


@pytest.mark.parametrize("path", DOMAIN, ids=lambda p: str(p.relative_to(SRC)))
def test_domain_module_reads_no_clock(path: Path) -> None:
    assert not [node.lineno for node in nodes(path) if isinstance(node, ast.Attribute) and node.attr in _CLOCKS]


def test_one_module_knows_a_library_for_signed_tokens() -> None:
    libraries = {"joserfc", "jwt", "jose", "authlib", "jwcrypto"}
    knowing = [path for path in SRC.rglob("*.py") if libraries & {name.partition(".")[0] for name in imported(path)}]
    assert [str(path.relative_to(SRC)) for path in knowing] == ["crypto/jose.py"]


def modules_imported(path: Path) -> Iterator[str]:
    """Modules of Daypass that a module imports anywhere: at its top, in a function, or for the type checker alone."""
    for node in imports(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif node.module is not None:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in names)


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Imports inside functions and under TYPE_CHECKING count, too: they hide a circle, they do not remove it."""
    waiting = {name: set(modules_imported(path)) & MODULES.keys() - {name} for name, path in MODULES.items()}
    while free := {name for name, needed in waiting.items() if not needed}:
        waiting = {name: needed - free for name, needed in waiting.items() if name not in free}
    assert not waiting, "these modules import one another, or what does"


def test_no_two_public_classes_have_one_name() -> None:
    """Names of classes are searched for: each one leads to one place."""
    found: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    assert not {name: modules for name, modules in found.items() if len(modules) > 1}


def loaded_by(code: str) -> set[str]:
    report = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module", ["daypass", "daypass.client", "daypass.sigv4", "daypass.cli.main", "daypass.audit.verify"]
)
def test_import_of_the_client_side_loads_nothing_of_the_server(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert not {name for name in loaded if name.startswith(_SERVER_ONLY)}


def test_help_of_the_command_line_loads_little() -> None:
    """Counted, not timed: seconds depend on the machine (they are in the bench)."""
    code = "from daypass.cli.main import run; assert run(['--help']) == 0"
    loaded = loaded_by(code)
    assert not {name for name in loaded if name.startswith((*_SERVER_ONLY, "rich.", "boto3", "asyncio"))}
    assert len(loaded - loaded_by("import click")) < 40
