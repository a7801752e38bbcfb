"""Shared parts of the commands for users, groups, keys, policies and roles: lists by page, names of policies, documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import click

from daypass.cli import output
from daypass.cli.files import name_of, parsed, text_at, text_of
from daypass.cli.options import (
    PAGE,
    CommandResult,
    Connect,
    confirmed,
    done,
    listing,
    pages,
    server_command,
    yes_option,
)
from daypass.cli.replacing import agreed, unchanged, unless_absent
from daypass.client.credentials import identity
from daypass.client.errors import ClientError
from daypass.client.http import Connection

_PAGES = 1000
WHY_TRUST = "this changes who may assume the role"
WHY_POLICY = "this changes what is permitted"
Row = dict[str, str]


def listed(connection: Connection, action: str, path: str, **parameters: Any) -> Iterator[Row]:
    """Every member of a list, page by page. `path` is that of the members: "Users/member"."""
    marker = ""
    for _ in range(_PAGES):
        answer = connection.iam(action, **parameters, Marker=marker)
        for member in answer.findall(path):
            yield row(member)
        following = answer.findtext("Marker") or ""
        if answer.findtext("IsTruncated") != "true" or following in ("", marker):
            return
        marker = following


def row(element: ET.Element) -> Row:
    """The members of an element that are text, policy documents as JSON."""
    return {child.tag: _text(child) for child in element} if len(element) else {"": element.text or ""}


def _text(element: ET.Element) -> str:
    text = element.text or ""
    return unquote(text) if element.tag.endswith("PolicyDocument") else text


def one(connection: Connection, action: str, path: str, **parameters: Any) -> Row:
    """The one thing that a call gives, at `path` of its answer. Raises ClientError."""
    found = connection.iam(action, **parameters).find(path)
    if found is None:
        raise ClientError("", f"the server's answer to {action} holds no {path}")
    return row(found)


def table_of(rows: list[Row], columns: dict[str, str]) -> CommandResult:
    """A list: `columns` are headings and the members below them."""
    return listing(rows, tuple(columns), lambda each: [moment(each.get(name, "")) for name in columns.values()])


def add_list(group: click.Group, kind: str, more: str = "") -> None:
    """Adds `ls` for users, groups or roles. `kind`: User, Group or Role. `more`: of its help."""

    @group.command("ls", help=f"List the {kind.lower()}s.{more}")
    @server_command
    def list_entities(connect: Connect) -> CommandResult:
        connection = connect()
        found = list(listed(connection, f"List{kind}s", f"{kind}s/member"))
        blocked = blocks_of(connection) if kind != "Group" and found else {}
        found = [{**each, "State": blocked.get(each[f"{kind}Id"], "")} for each in found]
        state = {"STATE": "State"} if any(each["State"] for each in found) else {}
        return table_of(found, {kind.upper(): f"{kind}Name", **state, "CREATED": "CreateDate", "ARN": "Arn"})


def blocks_of(connection: Connection) -> dict[str, str]:
    """The users and roles that get no sessions now, by id, each with a text that says so; {} without the permission."""
    try:
        found = pages(connection, "/revocations", "revocations", {"blocks": "true"}, _PAGES * PAGE)
    except ClientError as error:
        if error.code != "AccessDenied":
            raise
        output.message("whether they are blocked is not shown: that needs daypass:ListRevocations")
        return {}
    until = {each["value"]: output.moment(each["block_until"]) for each in found}
    return {subject: f"blocked until {end}" if end else "blocked" for subject, end in until.items()}


def moment(text: str) -> str:
    """A time of the IAM API as other times are shown; other text as it is."""
    return f"{text[:10]} {text[11:19]}Z" if text[10:11] == "T" and text.endswith("Z") else text


def policy_arn(connection: Connection, name: str) -> str:
    """The ARN of a managed policy: an ARN, aws/NAME for one of AWS, or the NAME of one of your account."""
    if name.startswith("arn:"):
        return name
    owner, slash, rest = name.partition("/")
    if slash and owner == "aws":
        return f"arn:aws:iam::aws:policy/{rest}"
    return f"arn:aws:iam::{identity(connection)['Account']}:policy/{name}"


def document(text: str) -> str:
    """A policy document of an answer, for people."""
    try:
        return json.dumps(json.loads(text), indent=2)
    except (ValueError, RecursionError):
        return output.safe(text)


def stored(connection: Connection, action: str, path: str, **parameters: Any) -> dict[str, Any]:
    """The policy document at `path` of an answer. Raises ClientError, also where it holds none."""
    text = unquote(connection.iam(action, **parameters).findtext(path) or "")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ClientError("", f"the server's answer to {action} holds no policy document")
    return found


def trust_policy(connection: Connection, role: str) -> dict[str, Any]:
    """The trust policy of a role. Raises ClientError."""
    return stored(connection, "GetRole", "Role/AssumeRolePolicyDocument", RoleName=role)


def document_of(file: TextIO) -> str:
    """A policy document of a file. Raises UsageError for a file that is not JSON."""
    text = text_of(file)
    parsed(text, name_of(file))
    return text


def add_policy_commands(group: click.Group, kind: str) -> None:
    """Adds `attach`, `detach`, `put` and `policies` for users, groups or roles. `kind`: User, Group or Role."""
    _add_attaching(group, kind)
    _add_inline(group, kind)
    what = kind.lower()

    @group.command("policies", help=f"List the policies of {what} NAME: attached ones by ARN, inline ones by name.")
    @click.argument("name")
    @server_command
    def policies(name: str, connect: Connect) -> CommandResult:
        return table_of(policies_of(connect(), kind, name), {"POLICY": "Policy", "KIND": "Kind"})


def _add_attaching(group: click.Group, kind: str) -> None:
    what = kind.lower()

    @group.command("attach", help=f"Attach POLICY (an ARN, aws/NAME, or a NAME of your account) to {what} NAME.")
    @click.argument("name")
    @click.argument("policy")
    @server_command
    def attach(name: str, policy: str, connect: Connect) -> CommandResult:
        connection = connect()
        arn = policy_arn(connection, policy)
        connection.iam(f"Attach{kind}Policy", **{f"{kind}Name": name}, PolicyArn=arn)
        return done("attached", f"Attached {arn} to {what} {name}.", policy_arn=arn, **{what: name})

    @group.command("detach", help=f"Detach POLICY from {what} NAME.")
    @click.argument("name")
    @click.argument("policy")
    @yes_option
    @server_command
    def detach(name: str, policy: str, yes: bool, connect: Connect) -> CommandResult:
        confirmed(f"Detach policy {output.safe(policy)} from {what} {output.safe(name)}?", yes=yes, why=WHY_POLICY)
        connection = connect()
        arn = policy_arn(connection, policy)
        connection.iam(f"Detach{kind}Policy", **{f"{kind}Name": name}, PolicyArn=arn)
        return done("detached", f"Detached {arn} from {what} {name}.", policy_arn=arn, **{what: name})


def _add_inline(group: click.Group, kind: str) -> None:
    what = kind.lower()

    @group.command(
        "put",
        help=f"Set inline policy POLICY of {what} NAME to FILE (- for stdin).  Shows the change and asks first.",
    )
    @click.argument("name")
    @click.argument("policy")
    @click.argument("file", type=click.File(encoding="utf-8"))
    @yes_option
    @server_command
    def put(name: str, policy: str, file: TextIO, yes: bool, connect: Connect) -> CommandResult:
        text, connection = document_of(file), connect()
        which = {f"{kind}Name": name, "PolicyName": policy}
        found = unless_absent(lambda: stored(connection, f"Get{kind}Policy", "PolicyDocument", **which))
        title, about = f"Inline policy {policy} of {what} {name}", {what: name, "policy_name": policy}
        if not agreed(title, found, json.loads(text), why=WHY_POLICY, yes=yes):
            return unchanged(title, **about)
        connection.iam(f"Put{kind}Policy", **which, PolicyDocument=text)
        return done("set", f"Set inline policy {policy} of {what} {name}.", **about)


def policies_of(connection: Connection, kind: str, name: str) -> list[Row]:
    """The policies of a user, group or role."""
    who = {f"{kind}Name": name}
    attached = listed(connection, f"ListAttached{kind}Policies", "AttachedPolicies/member", **who)
    inline = listed(connection, f"List{kind}Policies", "PolicyNames/member", **who)
    return [
        *({"Policy": each["PolicyArn"], "Kind": "attached"} for each in attached),
        *({"Policy": each[""], "Kind": "inline"} for each in inline),
    ]


@contextmanager
def offering_force() -> Iterator[None]:
    """A deletion without --force: a refusal because something is attached says how to delete that, too."""
    try:
        yield
    except ClientError as error:
        if error.code == "DeleteConflict":
            error.add_note("to delete it with everything that is attached to it: --force")
        raise


def drop_policies(connection: Connection, kind: str, name: str) -> None:
    """Detaches and deletes all policies of a user, group or role, so that it can be deleted."""
    who = {f"{kind}Name": name}
    for each in policies_of(connection, kind, name):
        if each["Kind"] == "attached":
            connection.iam(f"Detach{kind}Policy", **who, PolicyArn=each["Policy"])
        else:
            connection.iam(f"Delete{kind}Policy", **who, PolicyName=each["Policy"])


# --- `daypass iam`: any operation of the IAM API, for those that have no command of their own


_ACTION = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")
_NAME = re.compile(r"[A-Z][A-Za-z0-9.]{0,127}")
_LISTS = ("member", "entry")
_CONFIRMED = ("Deactivate", "Delete", "Detach", "Put", "Remove", "Reset", "Set", "Update")
"""Prefixes of operations that delete or replace something."""


@click.command("iam")
@click.argument("action")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@yes_option
@server_command
def iam(action: str, parameters: tuple[str, ...], yes: bool, connect: Connect) -> CommandResult:
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
    return CommandResult(result, *text)


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
