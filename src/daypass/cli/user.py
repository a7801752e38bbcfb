"""`daypass user`: users of an account."""

from __future__ import annotations

import click

from daypass.cli import iam, output, revoke
from daypass.cli.options import Connect, Fields, Group, Result, confirmed, done, noting_done, server_command, yes_option


@click.group(cls=Group)
def user() -> None:
    """Users of your account."""


iam.add_list(user, "User")


@user.command("show")
@click.argument("name")
@server_command
def show(name: str, connect: Connect) -> Result:
    """Show user NAME with its keys, groups and policies."""
    connection = connect()
    answer = iam.one(connection, "GetUser", "User", UserName=name)
    keys = list(iam.listed(connection, "ListAccessKeys", "AccessKeyMetadata/member", UserName=name))
    groups = list(iam.listed(connection, "ListGroupsForUser", "Groups/member", UserName=name))
    policies = iam.policies_of(connection, "User", name)
    state = iam.blocks_of(connection).get(answer["UserId"], "")
    return Result(
        {**answer, "State": state, "AccessKeys": keys, "Groups": groups, "Policies": policies},
        Fields(
            {
                "arn": answer.get("Arn"),
                "user id": answer.get("UserId"),
                "state": state,
                "created": iam.moment(answer.get("CreateDate", "")),
                "access keys": ", ".join(f"{k['AccessKeyId']} ({k['Status']})" for k in keys),
                "groups": ", ".join(g["GroupName"] for g in groups),
                "policies": ", ".join(p["Policy"] for p in policies),
            }
        ),
    )


@user.command("create")
@click.argument("name")
@click.option("--path", default="", metavar="PATH", help="For example /engineering/.")
@click.option("--key", is_flag=True, help="Also create an access key; its secret is shown only once.")
@server_command
def create(name: str, path: str, key: bool, connect: Connect) -> Result:
    """Create user NAME. It has no permissions until policies are attached to it or to one of its groups."""
    connection = connect()
    made = iam.one(connection, "CreateUser", "User", UserName=name, Path=path)
    created = f"Created {made.get('Arn', name)}."
    if not key:
        return Result(made, created)
    with noting_done([f"user {name}"]):
        secret = iam.one(connection, "CreateAccessKey", "AccessKey", UserName=name)
    shown = {"access key id": secret["AccessKeyId"], "secret access key": secret["SecretAccessKey"]}
    return Result({**made, "AccessKey": secret}, created, Fields(shown))


@user.command("rm")
@click.argument("name")
@click.option("--force", is_flag=True, help="End all access, then delete the user with everything it has.")
@yes_option
@server_command
def remove(name: str, force: bool, yes: bool, connect: Connect) -> Result:
    """Delete user NAME.

    Without --force, a user that still has keys, memberships, policies or MFA devices is not deleted, and its sessions stay
    valid. With it, sessions, access requests, keys, password and MFA devices end in the same step, as by
    `daypass offboard NAME --delete`.
    """
    confirmed(f"Delete user {output.safe(name)}?", yes=yes)
    connection = connect()
    if force:
        made = connection.api("POST", "/offboardings", body={"user": name, "delete": True})
        return Result(made, *revoke.report(made, deletes=True))
    with iam.offering_force():
        connection.iam("DeleteUser", UserName=name)
    return done("deleted", f"Deleted user {name}.", user=name)


iam.add_policy_commands(user, "User")
