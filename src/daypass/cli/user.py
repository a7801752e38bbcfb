"""`daypass user`, `daypass group` and `daypass key`: users of an account, groups, and access keys."""

from __future__ import annotations

import click

from daypass.api import access
from daypass.cli import iam, output, revoke
from daypass.cli.described import add_commands
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    confirmed,
    done,
    noting_done,
    server_command,
    yes_option,
)
from daypass.client.http import Connection


@click.group(cls=CommandGroup)
def user() -> None:
    """Users of your account."""


iam.add_list(user, "User")


@user.command("show")
@click.argument("name")
@server_command
def show(name: str, connect: Connect) -> CommandResult:
    """Show user NAME with its keys, groups and policies."""
    connection = connect()
    answer = iam.one(connection, "GetUser", "User", UserName=name)
    keys = list(iam.listed(connection, "ListAccessKeys", "AccessKeyMetadata/member", UserName=name))
    groups = list(iam.listed(connection, "ListGroupsForUser", "Groups/member", UserName=name))
    policies = iam.policies_of(connection, "User", name)
    state = iam.blocks_of(connection).get(answer["UserId"], "")
    return CommandResult(
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
def create(name: str, path: str, key: bool, connect: Connect) -> CommandResult:
    """Create user NAME. It has no permissions until policies are attached to it or to one of its groups."""
    connection = connect()
    made = iam.one(connection, "CreateUser", "User", UserName=name, Path=path)
    created = f"Created {made.get('Arn', name)}."
    if not key:
        return CommandResult(made, created)
    with noting_done([f"user {name}"]):
        secret = iam.one(connection, "CreateAccessKey", "AccessKey", UserName=name)
    shown = {"access key id": secret["AccessKeyId"], "secret access key": secret["SecretAccessKey"]}
    return CommandResult({**made, "AccessKey": secret}, created, Fields(shown))


@user.command("rm")
@click.argument("name")
@click.option("--force", is_flag=True, help="End all access, then delete the user with everything it has.")
@yes_option
@server_command
def remove(name: str, force: bool, yes: bool, connect: Connect) -> CommandResult:
    """Delete user NAME.

    Without --force, a user that still has keys, memberships, policies or MFA devices is not deleted, and its sessions stay
    valid. With it, sessions, access requests, keys, password and MFA devices end in the same step, as by
    `daypass offboard NAME --delete`.
    """
    confirmed(f"Delete user {output.safe(name)}?", yes=yes)
    connection = connect()
    if force:
        made = connection.api("POST", "/offboardings", body={"user": name, "delete": True})
        return CommandResult(made, *revoke.report(made, deletes=True))
    with iam.offering_force():
        connection.iam("DeleteUser", UserName=name)
    return done("deleted", f"Deleted user {name}.", user=name)


iam.add_policy_commands(user, "User")


# --- Groups, and who is in them


@click.group(cls=CommandGroup)
def group() -> None:
    """Groups of your account."""


iam.add_list(group, "Group")


@group.command("show")
@click.argument("name")
@server_command
def show_group(name: str, connect: Connect) -> CommandResult:
    """List the users in group NAME."""
    members = list(iam.listed(connect(), "GetGroup", "Users/member", GroupName=name))
    return iam.table_of(members, {"USER": "UserName", "ARN": "Arn"})


@group.command("create")
@click.argument("name")
@click.option("--path", default="", metavar="PATH", help="For example /engineering/.")
@server_command
def create_group(name: str, path: str, connect: Connect) -> CommandResult:
    """Create group NAME."""
    made = iam.one(connect(), "CreateGroup", "Group", GroupName=name, Path=path)
    return CommandResult(made, f"Created {made.get('Arn', name)}.")


@group.command("rm")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also remove its memberships and policies.")
@yes_option
@server_command
def remove_group(name: str, force: bool, yes: bool, connect: Connect) -> CommandResult:
    """Delete group NAME."""
    confirmed(f"Delete group {output.safe(name)}?", yes=yes)
    connection = connect()
    if force:
        for each in list(iam.listed(connection, "GetGroup", "Users/member", GroupName=name)):
            connection.iam("RemoveUserFromGroup", UserName=each["UserName"], GroupName=name)
        iam.drop_policies(connection, "Group", name)
    with iam.offering_force():
        connection.iam("DeleteGroup", GroupName=name)
    return done("deleted", f"Deleted group {name}.", group=name)


@group.command("add")
@click.argument("name")
@click.argument("users", nargs=-1, required=True)
@server_command
def add(name: str, users: tuple[str, ...], connect: Connect) -> CommandResult:
    """Add USERS to group NAME."""
    _for_each(connect(), "AddUserToGroup", users, name)
    return done("added", *(f"Added {each} to {name}." for each in users), group=name, users=users)


@group.command("remove")
@click.argument("name")
@click.argument("users", nargs=-1, required=True)
@yes_option
@server_command
def remove_users(name: str, users: tuple[str, ...], yes: bool, connect: Connect) -> CommandResult:
    """Remove USERS from group NAME."""
    question = f"Remove {output.safe(', '.join(users))} from group {output.safe(name)}?"
    confirmed(question, yes=yes, why="this takes permissions away")
    _for_each(connect(), "RemoveUserFromGroup", users, name)
    return done("removed", *(f"Removed {each} from {name}." for each in users), group=name, users=users)


def _for_each(connection: Connection, action: str, users: tuple[str, ...], name: str) -> None:
    for number, each in enumerate(users):
        with noting_done(users[:number]):
            connection.iam(action, GroupName=name, UserName=each)


iam.add_policy_commands(group, "Group")


# --- Access keys


_user = click.option("--user", "name", default="", metavar="NAME", help="Owner of the key. Default: you.")


@click.group(cls=CommandGroup)
def key() -> None:
    """Access keys of users."""


@key.command("ls")
@_user
@server_command
def list_keys(name: str, connect: Connect) -> CommandResult:
    """List the access keys of a user."""
    keys = list(iam.listed(connect(), "ListAccessKeys", "AccessKeyMetadata/member", UserName=name))
    return iam.table_of(
        keys, {"ACCESS KEY": "AccessKeyId", "USER": "UserName", "STATE": "Status", "CREATED": "CreateDate"}
    )


@key.command("create")
@_user
@server_command
def create_key(name: str, connect: Connect) -> CommandResult:
    """Create an access key. Its secret is shown only once."""
    made = iam.one(connect(), "CreateAccessKey", "AccessKey", UserName=name)
    return CommandResult(
        made, Fields({"access key id": made["AccessKeyId"], "secret access key": made["SecretAccessKey"]})
    )


@key.command("rm")
@click.argument("key_id")
@_user
@yes_option
@server_command
def remove_key(key_id: str, name: str, yes: bool, connect: Connect) -> CommandResult:
    """Delete access key KEY_ID. Its sessions stay valid: end them with `daypass revoke access-key`."""
    confirmed(f"Delete access key {output.safe(key_id)}?", yes=yes)
    connect().iam("DeleteAccessKey", AccessKeyId=key_id, UserName=name)
    return done("deleted", f"Deleted access key {key_id}.", access_key_id=key_id)


@key.command("disable")
@click.argument("key_id")
@_user
@server_command
def disable(key_id: str, name: str, connect: Connect) -> CommandResult:
    """Make access key KEY_ID inactive; `enable` makes it active again."""
    connect().iam("UpdateAccessKey", AccessKeyId=key_id, Status="Inactive", UserName=name)
    return done("disabled", f"Access key {key_id} is inactive.", access_key_id=key_id)


@key.command("enable")
@click.argument("key_id")
@_user
@server_command
def enable(key_id: str, name: str, connect: Connect) -> CommandResult:
    """Make access key KEY_ID active again."""
    connect().iam("UpdateAccessKey", AccessKeyId=key_id, Status="Active", UserName=name)
    return done("enabled", f"Access key {key_id} is active.", access_key_id=key_id)


add_commands(key, access)
