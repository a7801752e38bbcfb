"""`daypass policy`: managed policies of an account."""

from __future__ import annotations

import json
from typing import Any, TextIO

import click

from daypass.cli import iam, output
from daypass.cli.options import Connect, Group, Result, confirmed, done, server_command, yes_option
from daypass.cli.replacing import agreed, unchanged
from daypass.client.http import Connection

_MAX_VERSIONS = 5  # IAM keeps no more


@click.group(cls=Group)
def policy() -> None:
    """Managed policies. POLICY is an ARN, aws/NAME for one of AWS, or a NAME of your account."""


@policy.command("ls")
@click.option("--scope", type=click.Choice(["local", "aws", "all"]), default="local", show_default=True)
@server_command
def list_policies(scope: str, connect: Connect) -> Result:
    """List the managed policies of your account, or those of AWS."""
    scopes = {"local": "Local", "aws": "AWS", "all": "All"}
    policies = list(iam.listed(connect(), "ListPolicies", "Policies/member", Scope=scopes[scope]))
    return iam.table_of(policies, {"POLICY": "PolicyName", "ATTACHED": "AttachmentCount", "ARN": "Arn"})


@policy.command("show")
@click.argument("name", metavar="POLICY")
@server_command
def show(name: str, connect: Connect) -> Result:
    """Print the document of POLICY."""
    connection = connect()
    found, document = _current(connection, iam.policy_arn(connection, name))
    return Result({**found, "Document": document}, lambda: click.echo(json.dumps(document, indent=2)))


def _current(connection: Connection, arn: str) -> tuple[iam.Row, dict[str, Any]]:
    """A policy, and the document of its default version."""
    answer = iam.one(connection, "GetPolicy", "Policy", PolicyArn=arn)
    which = {"PolicyArn": arn, "VersionId": answer["DefaultVersionId"]}
    return answer, iam.stored(connection, "GetPolicyVersion", "PolicyVersion/Document", **which)


@policy.command("create")
@click.argument("name")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--description", default="", metavar="TEXT", help="Purpose.")
@server_command
def create(name: str, file: TextIO, description: str, connect: Connect) -> Result:
    """Create policy NAME with the document in FILE (- for stdin)."""
    text = iam.document_of(file)
    made = iam.one(
        connect(),
        "CreatePolicy",
        "Policy",
        PolicyName=name,
        PolicyDocument=text,
        Description=description,
    )
    return Result(made, f"Created {made['Arn']}.")


@policy.command("update")
@click.argument("name", metavar="POLICY")
@click.argument("file", type=click.File(encoding="utf-8"))
@yes_option
@server_command
def update(name: str, file: TextIO, yes: bool, connect: Connect) -> Result:
    """Give POLICY the document in FILE (- for stdin). Four former versions are kept.

    The change is shown, and made after you confirm it.
    """
    text = iam.document_of(file)
    connection = connect()
    arn = iam.policy_arn(connection, name)
    _, stored = _current(connection, arn)
    if not agreed(f"Policy {arn}", stored, json.loads(text), why=iam.WHY_POLICY, yes=yes):
        return unchanged(f"Policy {arn}", policy_arn=arn)
    versions = list(iam.listed(connection, "ListPolicyVersions", "Versions/member", PolicyArn=arn))
    if len(versions) >= _MAX_VERSIONS:
        oldest = min(
            (v for v in versions if v["IsDefaultVersion"] != "true"), key=lambda v: int(v["VersionId"].lstrip("v"))
        )
        connection.iam("DeletePolicyVersion", PolicyArn=arn, VersionId=oldest["VersionId"])
    made = iam.one(
        connection, "CreatePolicyVersion", "PolicyVersion", PolicyArn=arn, PolicyDocument=text, SetAsDefault="true"
    )
    return Result({**made, "PolicyArn": arn}, f"{arn} is at version {made['VersionId']}.")


@policy.command("rm")
@click.argument("name", metavar="POLICY")
@yes_option
@server_command
def remove(name: str, yes: bool, connect: Connect) -> Result:
    """Delete POLICY, all its versions included. It must be attached to nothing."""
    confirmed(f"Delete policy {output.safe(name)}?", yes=yes)
    connection = connect()
    arn = iam.policy_arn(connection, name)
    for each in list(iam.listed(connection, "ListPolicyVersions", "Versions/member", PolicyArn=arn)):
        if each["IsDefaultVersion"] != "true":
            connection.iam("DeletePolicyVersion", PolicyArn=arn, VersionId=each["VersionId"])
    connection.iam("DeletePolicy", PolicyArn=arn)
    return done("deleted", f"Deleted {arn}.", policy_arn=arn)
