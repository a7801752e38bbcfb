"""`daypass group`: groups of an account, and who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daypass.cli import iam, output
from daypass.cli.options import Group, confirmed, connect, output_option, server_options, yes_option

if TYPE_CHECKING:
    from daypass.client.http import Connection


@click.group(cls=Group)
def group() -> None:
    """Groups of your account."""


iam.add_list(group, "Group")


@group.command("show")
@click.argument("name")
@server_options
@output_option
def show(name: str, profile: str, endpoint: str, form: str) -> None:
    """List the users in group NAME."""
    found = list(iam.listed(connect(profile, endpoint), "GetGroup", "Users/member", GroupName=name))
    iam.shown(found, {"USER": "UserName", "ARN": "Arn"}, form)


@group.command("create")
@click.argument("name")
@click.option("--path", default="", metavar="PATH", help="For example /engineering/.")
@server_options
def create(name: str, path: str, profile: str, endpoint: str) -> None:
    """Create group NAME."""
    made = iam.one(connect(profile, endpoint), "CreateGroup", "Group", GroupName=name, Path=path)
    output.prose(f"Created {output.safe(made.get('Arn', name))}.")


@group.command("rm")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also remove its memberships and policies.")
@yes_option
@server_options
def remove(name: str, force: bool, yes: bool, profile: str, endpoint: str) -> None:
    """Delete group NAME."""
    confirmed(f"Delete group {output.safe(name)}?", yes=yes)
    connection = connect(profile, endpoint)
    if force:
        for each in list(iam.listed(connection, "GetGroup", "Users/member", GroupName=name)):
            connection.iam("RemoveUserFromGroup", UserName=each["UserName"], GroupName=name)
        iam.drop_policies(connection, "Group", name)
    connection.iam("DeleteGroup", GroupName=name)
    output.prose(f"Deleted group {output.safe(name)}.")


@group.command("add")
@click.argument("name")
@click.argument("users", nargs=-1, required=True)
@server_options
def add(name: str, users: tuple[str, ...], profile: str, endpoint: str) -> None:
    """Add USERS to group NAME."""
    _for_each(connect(profile, endpoint), "AddUserToGroup", users, name, "Added {} to {}.")


@group.command("remove")
@click.argument("name")
@click.argument("users", nargs=-1, required=True)
@server_options
def remove_users(name: str, users: tuple[str, ...], profile: str, endpoint: str) -> None:
    """Remove USERS from group NAME."""
    _for_each(connect(profile, endpoint), "RemoveUserFromGroup", users, name, "Removed {} from {}.")


def _for_each(connection: Connection, action: str, users: tuple[str, ...], name: str, done: str) -> None:
    for each in users:
        connection.iam(action, GroupName=name, UserName=each)
        output.prose(done.format(output.safe(each), output.safe(name)))


iam.add_attaching(group, "Group")
