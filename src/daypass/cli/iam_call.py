"""`daypass iam`: any operation of the IAM API, for those that have no command of their own."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import click

from daypass.cli import output
from daypass.cli.files import text_at
from daypass.cli.options import Connect, Result, confirmed, server_command, yes_option

_ACTION = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")
_NAME = re.compile(r"[A-Z][A-Za-z0-9.]{0,127}")
_LISTS = ("member", "entry")
_CONFIRMED = ("Deactivate", "Delete", "Detach", "Put", "Remove", "Reset", "Set", "Update")
"""What operations begin with that take something away or replace it."""


@click.command("iam")
@click.argument("action")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@yes_option
@server_command
def iam(action: str, parameters: tuple[str, ...], yes: bool, connect: Connect) -> Result:
    """Call ACTION of the IAM API, as AWS documents it: `daypass iam GetUser UserName=ann`.

    Members of lists have numbers (Tags.member.1.Key=team). A value that begins with @ is read from that file (@- for
    standard input).
    """
    if not _ACTION.fullmatch(action):
        raise click.UsageError(f"ACTION is an operation of IAM, for example ListUsers, not {action!r}.")
    given = dict(map(_parameter, parameters))
    if len(given) != len(parameters):
        raise click.UsageError("A parameter is given twice.")
    if action.startswith(_CONFIRMED):
        confirmed(f"Call {action} with {output.safe(' '.join(parameters))}?", yes=yes)
    answer = value_of(connect().iam(action, **given))
    result = {name: value for name, value in answer.items() if name != "ResponseMetadata"} if answer else {}
    text = [lambda: click.echo(json.dumps(result, indent=2))] if result else []
    return Result(result, *text)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise click.UsageError(f"A parameter is NAME=VALUE, not {text!r}.")
    if value.startswith("@"):
        return name, text_at(value[1:])
    return name, value


def value_of(element: ET.Element) -> Any:
    """An element of an answer: text, a list of its members, or a dictionary. None when it is empty."""
    children = list(element)
    if not children:
        return element.text
    if all(child.tag in _LISTS for child in children):
        return [value_of(child) for child in children]
    return {child.tag: value_of(child) for child in children}
