"""`daypass key`: access keys of users."""

from __future__ import annotations

import click

from daypass.api import access
from daypass.cli import iam, output
from daypass.cli.described import add_commands
from daypass.cli.options import Connect, Fields, Group, Result, confirmed, done, server_command, yes_option

_user = click.option("--user", "name", default="", metavar="NAME", help="Owner of the key. Default: you.")


@click.group(cls=Group)
def key() -> None:
    """Access keys of users."""


@key.command("ls")
@_user
@server_command
def list_keys(name: str, connect: Connect) -> Result:
    """List the access keys of a user."""
    keys = list(iam.listed(connect(), "ListAccessKeys", "AccessKeyMetadata/member", UserName=name))
    return iam.table_of(
        keys, {"ACCESS KEY": "AccessKeyId", "USER": "UserName", "STATE": "Status", "CREATED": "CreateDate"}
    )


@key.command("create")
@_user
@server_command
def create_key(name: str, connect: Connect) -> Result:
    """Create an access key. Its secret is shown only once."""
    made = iam.one(connect(), "CreateAccessKey", "AccessKey", UserName=name)
    return Result(made, Fields({"access key id": made["AccessKeyId"], "secret access key": made["SecretAccessKey"]}))


@key.command("rm")
@click.argument("key_id")
@_user
@yes_option
@server_command
def remove_key(key_id: str, name: str, yes: bool, connect: Connect) -> Result:
    """Delete access key KEY_ID. Its sessions stay valid: end them with `daypass revoke access-key`."""
    confirmed(f"Delete access key {output.safe(key_id)}?", yes=yes)
    connect().iam("DeleteAccessKey", AccessKeyId=key_id, UserName=name)
    return done("deleted", f"Deleted access key {key_id}.", access_key_id=key_id)


@key.command("disable")
@click.argument("key_id")
@_user
@server_command
def disable(key_id: str, name: str, connect: Connect) -> Result:
    """Make access key KEY_ID inactive; `enable` makes it active again."""
    connect().iam("UpdateAccessKey", AccessKeyId=key_id, Status="Inactive", UserName=name)
    return done("disabled", f"Access key {key_id} is inactive.", access_key_id=key_id)


@key.command("enable")
@click.argument("key_id")
@_user
@server_command
def enable(key_id: str, name: str, connect: Connect) -> Result:
    """Make access key KEY_ID active again."""
    connect().iam("UpdateAccessKey", AccessKeyId=key_id, Status="Active", UserName=name)
    return done("enabled", f"Access key {key_id} is active.", access_key_id=key_id)


add_commands(key, access)
