"""`daypass group`: groups of an account, and who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daypass.cli import iam, output
from daypass.cli.options import Connect, Group, Result, confirmed, done, noting_done, server_command, yes_option

if TYPE_CHECKING:
    from daypass.client.http import Connection


@click.group(cls=Group)
def group() -> None:
    """Groups of your account."""


iam.add_list(group, "Group")


@group.command("show")
@click.argument("name")
@server_command
def show_group(name: str, connect: Connect) -> Result:
    """List the users in group NAME."""
    members = list(iam.listed(connect(), "GetGroup", "Users/member", GroupName=name))
    return iam.table_of(members, {"USER": "UserName", "ARN": "Arn"})


@group.command("create")
@click.argument("name")
@click.option("--path", default="", metavar="PATH", help="For example /engineering/.")
@server_command
def create_group(name: str, path: str, connect: Connect) -> Result:
    """Create group NAME."""
    made = iam.one(connect(), "CreateGroup", "Group", GroupName=name, Path=path)
    return Result(made, f"Created {made.get('Arn', name)}.")


@group.command("rm")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also remove its memberships and policies.")
@yes_option
@server_command
def remove_group(name: str, force: bool, yes: bool, connect: Connect) -> Result:
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
def add(name: str, users: tuple[str, ...], connect: Connect) -> Result:
    """Add USERS to group NAME."""
    _for_each(connect(), "AddUserToGroup", users, name)
    return done("added", *(f"Added {each} to {name}." for each in users), group=name, users=users)


@group.command("remove")
@click.argument("name")
@click.argument("users", nargs=-1, required=True)
@yes_option
@server_command
def remove_users(name: str, users: tuple[str, ...], yes: bool, connect: Connect) -> Result:
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
