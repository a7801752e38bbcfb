"""Every command that is made from a description, with an answer of the form that the description promises."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from tests.unit.client.servers import as_json

from daypass.api.operation import Operation, bare_type
from daypass.wire.endpoints.table import OPERATIONS

DESCRIBED = [each for each in OPERATIONS if each.command is not None]


def example(found: inspect.Type) -> Any:
    """A value of this type."""
    kind, _ = bare_type(found)
    match kind:
        case inspect.StructType(cls=cls):
            return {field.name: example(field.type) for field in inspect.type_info(cls).fields}
        case inspect.ListType(item_type=item):
            return [example(item)]
        case inspect.DictType():
            return {"a-key": "a value"}
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return 1_800_000_000_000
    return "a value"


def words(operation: Operation) -> list[str]:
    """The command with its arguments, and with the options that it needs."""
    assert operation.command is not None
    found = []
    for word in operation.command.usage.split():
        part = operation.parts.get(word.lower()) if word.isupper() else None
        found.append(word if part is None else str(example(part.type)))
    arguments = [word.lower() for word in operation.command.usage.split() if word.isupper()]
    for part in operation.parts.values():
        if part.required and part.name not in arguments:
            found += ["--" + part.name.replace("_", "-"), str(example(part.type))]
    confirms = operation.command.confirm or operation.command.replaces
    return [*found, "--yes"] if confirms else found


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("operation", DESCRIBED, ids=lambda each: each.operation_id)
@pytest.mark.parametrize("form", ["text", "json"])
def test_described_command_sends_what_its_operation_takes_and_prints_the_answer(
    cli: Any, serve: Any, operation: Operation, form: str
) -> None:
    answer = {} if operation.answer is None else example(msgspec.inspect.type_info(operation.answer))
    answer = {**answer, **({"next": ""} if operation.paged else {})}
    steps = [as_json(answer, operation.status if operation.answer is not None else 204)]
    assert operation.command is not None
    replaced = operation.command.replaces
    if replaced is not None and replaced.answer is not None:
        steps.insert(0, as_json(example(msgspec.inspect.type_info(replaced.answer))))
    server = serve(*steps)
    ran = cli(*words(operation), "--output", form)
    assert ran.status == 0, ran.err
    sent = server.sent[-1]
    assert sent.method == operation.method
    assert operation.pattern.fullmatch(sent.target.partition("?")[0].removeprefix("/api/v1"))
    if form == "json":
        json.loads(ran.out)
    elif operation.command.prints or operation.items or operation.command.says:
        assert ran.out
