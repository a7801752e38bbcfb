"""`daypass role`: roles of an account, their trust policies, and what Daypass adds to a role."""

from __future__ import annotations

import json
import re
from typing import Any, TextIO

import click

from daypass.cli import iam, output
from daypass.cli.durations import left
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Duration,
    Fields,
    account_option,
    complete_roles,
    confirmed,
    done,
    server_command,
    yes_option,
)
from daypass.cli.replacing import agreed, unchanged
from daypass.client.credentials import identity
from daypass.client.http import segment

_name = click.argument("name", shell_complete=complete_roles)
_CLIENT = re.compile(r"arn:[^:]+:daypass:[^:]*:[0-9]+:client/")


@click.group(cls=CommandGroup)
def role() -> None:
    """Roles of your account."""


def _settings(name: str) -> str:
    return f"/roles/{segment(name)}/settings"


iam.add_list(role, "Role", " `daypass roles` lists those that you may assume.")


@role.command("show")
@_name
@account_option
@server_command
def show(name: str, account: str, connect: Connect) -> CommandResult:
    """Show role NAME: its Daypass settings, and in your own account its trust policy and policies."""
    connection = connect()
    answer: dict[str, Any] = dict(connection.api("GET", _settings(name), {"account": account}))
    trust = ""
    if not account:
        stored = iam.one(connection, "GetRole", "Role", RoleName=name)
        trust = iam.document(stored.get("AssumeRolePolicyDocument", ""))
        answer |= {
            "created": iam.moment(stored.get("CreateDate", "")),
            "max_session_seconds": stored.get("MaxSessionDuration", ""),
            "policies": [each["Policy"] for each in iam.policies_of(connection, "Role", name)],
        }
    fields = Fields({k: ", ".join(v) if isinstance(v, list) else v for k, v in answer.items()})
    if not trust:
        return CommandResult(answer, fields)
    return CommandResult(
        {**answer, "trust_policy": json.loads(trust)}, fields, lambda: click.echo(f"\nTrust policy:\n{trust}")
    )


@role.command("set")
@_name
@click.option(
    "--chained-max",
    "seconds",
    type=Duration(),
    required=True,
    metavar="TIME",
    help="Longest duration of a chained session. Default of a new role: 1h, as in AWS.",
)
@account_option
@server_command
def set_(name: str, seconds: int, account: str, connect: Connect) -> CommandResult:
    """Set the Daypass settings of role NAME."""
    body = {"chained_max_seconds": seconds}
    made = connect().api("PUT", _settings(name), {"account": account}, body)
    return CommandResult(made, f"Chained sessions of {made['arn']} last up to {left(made['chained_max_seconds'])}.")


@role.command("create")
@click.argument("name")
@click.option("--trust", type=click.File(encoding="utf-8"), metavar="FILE", help="The trust policy.")
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="WHO",
    help="ARN (of an OAuth client, too), account, user/NAME or role/NAME; repeatable.",
)
@click.option("--max-session", type=Duration(), default=0, metavar="TIME", help="Longest session. Default: 1h.")
@click.option("--description", default="", metavar="TEXT", help="Purpose.")
@server_command
def create(
    name: str, trust: TextIO | None, principals: tuple[str, ...], connect: Connect, **given: Any
) -> CommandResult:
    """Create role NAME, trusted by --principal, or by the policy in --trust.

    For tokens of identity providers: `daypass trust new … --apply`.
    """
    if bool(trust) == bool(principals):
        raise click.UsageError("Say who may assume it: --principal, or --trust FILE.")
    connection = connect()
    text = iam.document_of(trust) if trust else _trusting([_principal(connection, each) for each in principals])
    made = iam.one(
        connection,
        "CreateRole",
        "Role",
        RoleName=name,
        AssumeRolePolicyDocument=text,
        MaxSessionDuration=given["max_session"] or None,
        Description=given["description"],
    )
    return CommandResult(made, f"Created {made['Arn']}. It has no permissions until policies are attached to it.")


def _principal(connection: Any, who: str) -> str:
    if who.startswith(("user/", "role/")):
        return f"arn:aws:iam::{identity(connection)['Account']}:{who}"
    if who != "*" and not who.startswith("arn:") and not who.isdigit():
        raise click.UsageError(f"--principal takes an ARN, an account, user/NAME or role/NAME, not {who!r}.")
    return who


def _trusting(principals: list[str]) -> str:
    clients = [who for who in principals if _CLIENT.match(who)]
    others = [who for who in principals if who not in clients]
    kinds = (
        ("AWS", others, ["sts:AssumeRole", "sts:TagSession"]),
        ("Federated", clients, ["sts:AssumeRoleWithWebIdentity"]),
    )
    statements = [
        {"Effect": "Allow", "Principal": {kind: who[0] if len(who) == 1 else who}, "Action": actions}
        for kind, who, actions in kinds
        if who
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@role.command("trust")
@_name
@click.argument("file", type=click.File(encoding="utf-8"))
@yes_option
@server_command
def trust(name: str, file: TextIO, yes: bool, connect: Connect) -> CommandResult:
    """Replace the trust policy of role NAME by FILE (- for stdin).

    Shows the change and asks first.
    """
    text, connection = iam.document_of(file), connect()
    title = f"Trust policy of role {name}"
    stored = iam.trust_policy(connection, name)
    if not agreed(title, stored, json.loads(text), why=iam.WHY_TRUST, yes=yes):
        return unchanged(title, role=name)
    connection.iam("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=text)
    return done("set", f"Set the trust policy of role {name}.", role=name)


@role.command("rm")
@_name
@click.option("--force", is_flag=True, help="Also remove its policies.")
@yes_option
@server_command
def remove(name: str, force: bool, yes: bool, connect: Connect) -> CommandResult:
    """Delete role NAME. Its sessions end with it, and those made from them."""
    confirmed(f"Delete role {output.safe(name)}?", yes=yes)
    connection = connect()
    if force:
        iam.drop_policies(connection, "Role", name)
    with iam.offering_force():
        connection.iam("DeleteRole", RoleName=name)
    return done("deleted", f"Deleted role {name}.", role=name)


iam.add_policy_commands(role, "Role")
