"""`daypass scim`: tokens with which a directory provisions users and groups."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.options import Connect, Group, confirmed, server_command, yes_option
from daypass.cli.results import Fields, Result, Table, done
from daypass.client.http import segment


@click.group(cls=Group)
def scim() -> None:
    """Tokens with which a directory (Entra ID, Okta) provisions users and groups."""


@scim.command("create")
@click.argument("name")
@click.option(
    "--user", required=True, metavar="NAME", help="The user who is the principal of the directory's requests."
)
@click.option("--days", type=click.IntRange(1, 366), default=180, show_default=True, help="Lifetime.")
@server_command
def create(name: str, user: str, days: int, connect: Connect) -> Result:
    """Make token NAME. It is shown once."""
    body = {"name": name, "user": user, "days": days}
    made = connect().api("POST", "/scim-tokens", body=body)
    expires = output.moment(made["scim_token"]["expires_at"])
    return Result(made, Fields({"url": made["url"], "token": made["token"], "expires": expires}))


@scim.command("ls")
@server_command
def list_tokens(connect: Connect) -> Result:
    """List the tokens."""
    tokens = connect().api("GET", "/scim-tokens")["scim_tokens"]
    rows = [(each["name"], each["user_id"], output.moment(each["expires_at"])) for each in tokens]
    return Result(tokens, Table(("TOKEN", "USER ID", "EXPIRES"), rows))


@scim.command("rm")
@click.argument("name")
@yes_option
@server_command
def remove(name: str, yes: bool, connect: Connect) -> Result:
    """Delete token NAME."""
    confirmed(f"Delete SCIM token {output.safe(name)}?", yes=yes)
    connect().api("DELETE", f"/scim-tokens/{segment(name)}")
    return done("deleted", f"Deleted SCIM token {name}.", token=name)
