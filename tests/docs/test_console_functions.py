"""Every function of the console is in the API and on the command line too."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.parser import every_command

from daypass.cli.commands import COMMANDS as PLACES
from daypass.wire import rolesanywhere_model
from daypass.wire.aws import sts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import gen_console

    return gen_console


def operations(functions: Any) -> set[str]:
    return {row.operation for row in functions.console_rows()}


def test_console_operation_has_a_command_or_a_reason_to_have_none(functions: Any) -> None:
    assert {*functions.COMMANDS, *functions.BROWSER_ONLY} <= operations(functions)
    assert operations(functions) <= {*functions.COMMANDS, *functions.DESCRIBED, *functions.BROWSER_ONLY}
    assert functions.COMMANDS.keys().isdisjoint(functions.BROWSER_ONLY)


def test_console_operation_with_a_command_is_a_call_of_the_api(functions: Any) -> None:
    served = {
        *(f"iam:{name}" for name in sts.IAM_OPERATIONS),
        *(f"sts:{name}" for name in sts.STS_OPERATIONS),
        *(f"rolesanywhere:{each.name}" for each in rolesanywhere_model.load().operations.values()),
    }
    for operation in functions.COMMANDS:
        if operation.startswith("daypass:"):
            assert functions.api_call(operation), operation
        else:
            assert operation in served


def test_command_of_a_console_operation_exists_and_names_what_it_calls(functions: Any) -> None:
    commands = dict(every_command())
    for operation, command in functions.COMMANDS.items():
        assert command in commands, operation
        if command == "iam":
            continue
        places = [module_of(command.split()[0]), commands[command].callback.__module__]
        text = "\n".join(strings(places))
        for wanted in named(functions, operation):
            assert re.search(wanted, text), f"{operation}: {places} name no {wanted}"


def module_of(group: str) -> str:
    """The module with a group's paths: descriptions, or commands that are written by hand."""
    _, described, name = PLACES[group].module.rpartition("api:")
    return f"daypass.api.{name}" if described else f"daypass.cli.{name}"


def named(functions: Any, operation: str) -> list[str]:
    """Patterns for the code of a command: the fixed parts of a path. Names of operations of IAM are put together."""
    service = operation.partition(":")[0]
    if service in ("iam", "sts"):
        return []
    if service == "rolesanywhere":
        return ["/trustanchors?"]
    found = re.search(r"/api/v1(/[^`]*)`", functions.api_call(operation))
    assert found is not None
    return [rf"\b{re.escape(part)}\b" for part in re.split(r"/|\{[^}]*\}", found[1]) if part]


def strings(modules: list[str]) -> list[str]:
    """The text constants of modules of the command line, and of those modules of it that they import."""
    found: list[str] = []
    waiting, known = list(modules), set[str]()
    while waiting and len(known) < 20:
        name = waiting.pop(0)
        if name in known:
            continue
        known.add(name)
        tree = ast.parse(Path(str(importlib.import_module(name).__file__)).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.ImportFrom) and (node.module or "") == "daypass.cli":
                waiting += [f"daypass.cli.{each.name}" for each in node.names if each.name in ("iam", "offboard")]
    return found
