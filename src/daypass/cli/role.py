"""`daypass role`: what Daypass adds to a role."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.options import connect, output_option, server_options
from daypass.client.http import segment

_account = click.option("--account", default="", metavar="ID", help="Another account, for the operator.")


@click.group()
def role() -> None:
    """What Daypass adds to a role: how long its chained sessions may last."""


def _path(name: str) -> str:
    return f"/roles/{segment(name)}/settings"


@role.command("show")
@click.argument("name")
@_account
@server_options
@output_option
def show(name: str, account: str, profile: str, endpoint: str, form: str) -> None:
    """Show the settings of role NAME."""
    found = connect(profile, endpoint).api("GET", _path(name), {"account": account})
    if form == "json":
        output.data(found)
    else:
        output.fields(found)


@role.command("set")
@click.argument("name")
@click.option(
    "--chained-max",
    "seconds",
    type=int,
    required=True,
    metavar="SECONDS",
    help="Longest session that is made from another session; AWS has an hour, and so has a new role.",
)
@_account
@server_options
def set_(name: str, seconds: int, account: str, profile: str, endpoint: str) -> None:
    """Set what Daypass adds to role NAME."""
    body = {"chained_max_seconds": seconds}
    made = connect(profile, endpoint).api("PUT", _path(name), {"account": account}, body)
    click.echo(f"Chained sessions of {output.safe(made['arn'])} last up to {made['chained_max_seconds']} seconds.")
