"""The package declares exactly what it uses: a dependency that nothing imports is not installed at users'."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MODULES = {  # where the module has another name
    "pyopenssl": "OpenSSL",
    "sqlalchemy": "sqlalchemy",
    "prometheus-client": "prometheus_client",
    "recurring-ical-events": "recurring_ical_events",
}
# Used without an import of ours: botocore's data files are read.
WITHOUT_IMPORT = {"botocore"}


@cache
def imported() -> set[str]:
    """The top-level modules that the package imports, also within functions."""
    found: set[str] = set()
    for path in (ROOT / "src" / "daypass").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~;, ]", one, maxsplit=1)[0].lower() for one in requirements}


def test_dependencies_are_each_imported_somewhere() -> None:
    declared = names(PROJECT["dependencies"]) | names(PROJECT["optional-dependencies"]["server"])
    modules = imported()
    assert {name for name in declared - WITHOUT_IMPORT if MODULES.get(name, name) not in modules} == set()


def test_dependencies_of_a_plain_install_are_those_of_client_and_command_line() -> None:
    assert names(PROJECT["dependencies"]) == {"click", "msgspec"}


def test_psycopg_pool_is_not_declared_as_long_as_nothing_imports_it() -> None:
    declared = [one for one in PROJECT["optional-dependencies"]["server"] if one.startswith("psycopg")]
    assert ("pool" in declared[0]) is ("psycopg_pool" in imported())
