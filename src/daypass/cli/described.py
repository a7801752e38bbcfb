"""Commands made from the descriptions in `daypass.api`: arguments, options, confirmation, the call, the table.

A command that has more to say than its operation is written by hand, in a module of its group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final

import click
from msgspec import inspect

from daypass.api.operation import Command, InputField, Operation
from daypass.cli import output
from daypass.cli.durations import left
from daypass.cli.files import text_of
from daypass.cli.options import CliCommand as CheckedCommand
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    Table,
    WholeNumber,
    account_option,
    confirmed,
    done,
    limit_option,
    pages,
    server_command,
    user_option,
    yes_option,
)
from daypass.cli.replacing import show, unless_absent
from daypass.client.http import Connection, segment

_FIELD: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_SHARED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "account": account_option,
    "user": user_option,
    "limit": limit_option,
}
"""Options that many operations have, by field."""
_NOT_OPTIONS: Final = frozenset({"after"})


def command_or_group(name: str, summary: str, api: ModuleType) -> click.Command:
    """The one command of this name, or a group of commands."""
    for operation in vars(api).values():
        command = operation.command if isinstance(operation, Operation) else None
        if command is not None and [word for word in command.usage.split() if word.islower()] == [name]:
            return command_of(operation, name)
    return group_of(name, summary, api)


def group_of(name: str, summary: str, api: ModuleType) -> click.Group:
    """A group with a command for each operation of a module that has one in this group."""
    group = CommandGroup(name, help=summary)
    add_commands(group, api)
    return group


def add_commands(group: click.Group, api: ModuleType) -> None:
    """Adds the commands whose usage begins with the name of the group, also those of groups within it."""
    for operation in vars(api).values():
        if not isinstance(operation, Operation) or operation.command is None:
            continue
        *path, name = [word for word in operation.command.usage.split() if word.islower()]
        if path and path[0] == group.name:
            _inner(group, path[1:], operation).add_command(command_of(operation, name))


def _inner(group: click.Group, path: Sequence[str], operation: Operation) -> click.Group:
    for name in path:
        inner = group.commands.get(name)
        assert isinstance(inner, click.Group), f"{operation.name}: no command group is named {name}"
        group = inner
    return group


def command_of(operation: Operation, name: str) -> click.Command:
    """The command of one operation."""
    described = operation.command
    assert described is not None
    arguments = [word.lower() for word in described.usage.split() if word.isupper()]

    def run(connect: Connect, **given: Any) -> CommandResult:
        return _run(operation, described, arguments, connect, given)

    command: Callable[..., Any] = server_command(run)
    if described.confirm or described.replaces is not None:
        command = yes_option(command)
    for part in reversed([*operation.parts.values()]):
        if part.name not in arguments and part.name not in _NOT_OPTIONS:
            command = _option(part, described)(command)
    for flag, (_, _, text) in described.flags.items():
        command = click.option(flag, _name_of(flag), is_flag=True, help=text)(command)
    for argument in reversed(arguments):
        command = click.argument(argument, type=_type(operation.parts[argument]))(command)
    summary = described.summary or operation.summary
    return click.command(name, cls=CheckedCommand, help=f"{summary}\n\n{described.help}".strip())(command)


def _name_of(flag: str) -> str:
    return "flag_" + flag.removeprefix("--").replace("-", "_")


def _type(part: InputField) -> Any:
    kind = part.type
    if isinstance(kind, inspect.LiteralType):
        return click.Choice([str(value) for value in kind.values if value != ""])
    if isinstance(kind, inspect.IntType):
        return WholeNumber(part.schema.get("minimum"), part.schema.get("maximum"))
    return str


def _option(part: InputField, described: Command) -> Callable[[Any], Any]:
    if part.name in _SHARED and (part.name != "user" or not part.required):
        return _SHARED[part.name]
    text = str(part.schema.get("description", ""))
    flag = described.options.get(part.name, "--" + part.name.replace("_", "-"))
    if part.extra.get("secret"):
        return click.option(
            f"{flag}-file", part.name, type=click.File(encoding="utf-8"), help=f"A file with it, or -. {text}"
        )
    if isinstance(part.type, inspect.BoolType):
        return click.option(flag, part.name, is_flag=True, help=text)
    if isinstance(part.type, inspect.ListType | inspect.VarTupleType):
        return click.option(flag, part.name, multiple=True, metavar="TEXT", help=f"{text} Repeatable.")
    default = None if part.required else part.default
    return click.option(
        flag, part.name, type=_type(part), required=part.required, default=default or None, help=text or None
    )


def _run(
    operation: Operation, described: Command, arguments: Sequence[str], connect: Connect, given: dict[str, Any]
) -> CommandResult:
    yes = given.pop("yes", False)
    for flag, (field, value, _) in described.flags.items():
        if given.pop(_name_of(flag)):
            given[field] = value
    values = {name: _value(operation.parts[name], value) for name, value in given.items()}
    values = {name: value for name, value in values.items() if value not in (None, "", ())}
    connection = connect()
    if described.replaces is not None:
        _agree(connection, operation, described, arguments, values, yes=yes)
    elif described.confirm:
        confirmed(_filled(described.confirm, values), yes=yes, why=described.why)
    if operation.paged:
        path, query, _ = _request(operation, {k: v for k, v in values.items() if k != "limit"})
        answer: Any = pages(connection, path, operation.items, query, values["limit"])
    else:
        answer = call(connection, operation, values)
    return _result(operation, described, arguments, values, answer)


def _value(part: InputField, value: Any) -> Any:
    return text_of(value).strip() if part.extra.get("secret") and value is not None else value


def call(connection: Connection, operation: Operation, values: Mapping[str, Any]) -> Any:
    """The answer of an operation; of a list, its items. `values`: the input by field."""
    path, query, body = _request(operation, values)
    creates = operation.method == "POST" and operation.status == 201
    answer = connection.api(operation.method, path, query, body, repeatable=not creates)
    return answer[operation.items] if operation.items else answer


def _request(operation: Operation, values: Mapping[str, Any]) -> tuple[str, dict[str, str], Any]:
    """Path, query and body."""
    path = operation.path
    for part in operation.placed("path"):
        path = path.replace(f"{{{part.name}}}", segment(str(values[part.name])))
    query = {part.name: _text(values[part.name]) for part in operation.placed("query") if part.name in values}
    body = {part.name: values[part.name] for part in operation.placed("body") if part.name in values}
    return path, query, body if any(operation.placed("body")) else None


def _text(value: Any) -> str:
    return ("true" if value else "") if isinstance(value, bool) else str(value)


def _agree(
    connection: Connection,
    operation: Operation,
    described: Command,
    arguments: Sequence[str],
    values: Mapping[str, Any],
    *,
    yes: bool,
) -> None:
    """Asks before what exists is replaced, after the change is shown. Raises UsageError, Abort."""
    reads, key = described.replaces, arguments[0]
    assert reads is not None
    about = {name: value for name, value in values.items() if name in reads.parts}
    found = unless_absent(lambda: call(connection, reads, about))
    if reads.items:
        found = next((item for item in found or () if item[key] == values[key]), None)
    if found is None:
        return
    members = [part.name for part in operation.placed("body") if part.name in found]
    wanted = {name: values.get(name, operation.parts[name].default) for name in members}
    wanted = {name: list(value) if isinstance(value, tuple) else value for name, value in wanted.items()}
    show(f"{described.noun.capitalize()} {values[key]}", {name: found[name] for name in members}, wanted)
    confirmed("Replace it?", yes=yes, why=described.why)


# --- Results


def _result(
    operation: Operation, described: Command, arguments: Sequence[str], values: Mapping[str, Any], answer: Any
) -> CommandResult:
    if operation.items:
        headings = [column.partition("=")[0].replace("_", " ") for column in described.columns]
        rows = ([_cell(column, item) for column in described.columns] for item in answer)
        return CommandResult(answer, Table(headings, rows, **({"empty": described.empty} if described.empty else {})))
    about = {**values, **(answer or {})}
    lines = list(_lines(described.says, about)) if described.says is not None else []
    if operation.output is None:
        names = [described.noun or arguments[0], *arguments[1:]] if arguments else []
        told = dict(zip(names, (values[name] for name in arguments), strict=True))
        return done(described.outcome, *lines, **told)
    if described.prints:
        text = str(answer[described.prints]).expandtabs(4).splitlines()
        return CommandResult(answer, partial(click.echo, "\n".join(map(output.safe, text))))
    if described.says is not None:
        return CommandResult(answer, *lines)
    shown = {name: value for name, value in answer.items() if name != "settings"}
    settings = (partial(output.settings, answer["settings"]),) if answer.get("settings") is not None else ()
    return CommandResult(answer, Fields(dict(_flat(shown))), *settings)


def _flat(members: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, object]]:
    """Members for people; those of an object within them follow its name."""
    for name, value in members.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{outer}{name} ")
        else:
            yield f"{outer}{name}".replace("_", " "), _shown(name, value)


def _lines(says: Sequence[str], about: Mapping[str, Any]) -> Iterator[str]:
    for line in says:
        fields = [match[1] for match in _FIELD.finditer(line)]
        if not fields or any(about.get(name) for name in fields):
            yield _filled(line, about)


def _filled(text: str, about: Mapping[str, Any]) -> str:
    return _FIELD.sub(lambda match: output.safe(_shown(match[1], about.get(match[1]), match[2] or "")), text)


def _cell(column: str, item: Mapping[str, Any]) -> object:
    """A cell of "HEADING=field", "HEADING=field|what an empty one is" or "HEADING=field:form"."""
    heading, _, place = column.partition("=")
    place, _, otherwise = (place or heading.lower()).partition("|")
    path, _, form = place.partition(":")
    value: Any = item
    for field in path.split("."):
        value = value.get(field)
    return _shown(path, value, form) or otherwise


def _shown(name: str, value: Any, form: str = "") -> str:
    """A value for people. `form`: last, of an ARN; word, of an identifier; left, a duration."""
    if isinstance(value, dict):
        return str(value.get("id") or ", ".join(value))
    if isinstance(value, list | tuple):
        return ", ".join(_shown("", each, form) for each in value)
    if isinstance(value, bool):
        return "yes" if value else ""
    if output.is_time(name):
        return output.moment(value)
    text = "" if value is None else str(value)
    match form:
        case "last":
            return text.partition(":")[2].rpartition(":")[2] or text
        case "end":
            return text.rpartition("/")[2]
        case "word":
            return text.replace("_", "-")
        case "left":
            return left(value)
    return text
