"""Commands for operators: sessions, accounts, guardrails."""

from __future__ import annotations

import json
from typing import TextIO

import click

from daypass.api import accounts
from daypass.cli import output
from daypass.cli.described import group_of
from daypass.cli.iam import document_of
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    any_account_option,
    done,
    limit_option,
    listing,
    pages,
    server_command,
    yes_option,
)
from daypass.cli.policy import offline
from daypass.cli.replacing import agreed, unchanged, unless_absent
from daypass.client.errors import ClientError
from daypass.client.http import segment


@click.group(cls=CommandGroup)
def sessions() -> None:
    """Sessions that were issued."""


@sessions.command("ls")
@any_account_option
@click.option("--principal-id", default="", metavar="ID", help="Sessions of this role or user id.")
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@limit_option
@server_command
def list_sessions(account: str, principal_id: str, every: bool, limit: int, connect: Connect) -> CommandResult:
    """List sessions, newest first."""
    query = {"account": account, "principal_id": principal_id, "active": "" if every else "true"}
    connection = connect()
    found = pages(connection, "/sessions", "sessions", query, limit)
    now = connection.clock() + connection.offset
    return listing(
        found,
        ("SESSION", "STATE", "NAME", "ROLE OR USER", "DEPTH", "LEFT"),
        lambda s: (
            *(s[name] for name in ("session_id", "state", "name", "arn", "depth")),
            output.time_left(s["expires_at"], now),
        ),
    )


@sessions.command("show")
@click.argument("session_id")
@server_command
def show_session(session_id: str, connect: Connect) -> CommandResult:
    """Show one session with the chain of custody behind it."""
    connection = connect()
    try:
        view = connection.api("GET", f"/sessions/{segment(session_id)}")
    except ClientError as error:
        if error.status == 404:
            error.add_note("to find it, also when it has ended: daypass sessions ls --all")
        raise
    times = {name: output.moment(view[name]) for name in ("issued_at", "expires_at")}
    return CommandResult(
        view,
        Fields({**{k: v for k, v in view.items() if k != "hops"}, **times}),
        "",
        "Chain of custody:",
        lambda: output.hops(view["hops"]),
    )


guardrail = group_of("guardrail", "Policies that limit every principal of an account, its root included.", accounts)
_WHY = "this changes what every principal of the account may do"


def _guardrail(account_id: str, name: str) -> str:
    return f"/accounts/{segment(account_id)}/guardrails/{segment(name)}"


@guardrail.command("put")
@click.argument("account_id")
@click.argument("name")
@click.argument("document", type=click.File(encoding="utf-8"))
@yes_option
@server_command
def put_guardrail(account_id: str, name: str, document: TextIO, yes: bool, connect: Connect) -> CommandResult:
    """Set guardrail NAME of ACCOUNT_ID to the policy in the file DOCUMENT (- for stdin).

    Shows the change and asks first.
    """
    path, connection = _guardrail(account_id, name), connect()
    text = document_of(document)
    found = unless_absent(lambda: connection.api("GET", path))
    title, about = f"Guardrail {name} of {account_id}", {"account": account_id, "name": name}
    stored = found and json.loads(found["document"])
    if not agreed(title, stored, json.loads(text), why=_WHY, yes=yes):
        return unchanged(title, **about)
    connection.api("PUT", path, body={"document": text})
    for finding in offline(text, "guardrail", account_id):
        output.prose(f"{finding['severity']}: {finding['title']}. {output.safe(finding['fix'])}", err=True)
    return done("set", f"Guardrail {name} is in force for {account_id}.", **about)
