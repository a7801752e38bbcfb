"""`daypass token`: an access token of this identity for an API, as services and `curl` need it."""

from __future__ import annotations

from typing import Any

import click

from daypass.cli.options import Connect, Result, complete_roles, server_command
from daypass.client.credentials import role_arn


@click.command()
@click.option("--audience", required=True, metavar="URI", help="The identifier of the API: https://orders.example.")
@click.option("--scope", "scopes", multiple=True, metavar="NAME", help="Repeatable. Default: that of the API.")
@click.option(
    "--role", default="", metavar="ROLE", shell_complete=complete_roles, help="As this role. Default: as you are."
)
@server_command
def token(audience: str, scopes: tuple[str, ...], role: str, connect: Connect) -> Result:
    """Print an access token for an API (RFC 8693), for example for curl -H "Authorization: Bearer $(daypass token
    --audience https://orders.example)". It ends with your session, or after an hour.

    Needs daypass:GetAccessToken on the resource server if the audience is registered.
    """
    from daypass.client.browser_login import access_token

    connection = connect()
    wanted: dict[str, Any] = {"audience": audience, "scope": " ".join(scopes)}
    wanted["role"] = role_arn(connection, role) if role else ""
    answer = access_token(connection, {name: value for name, value in wanted.items() if value})
    return Result(answer, str(answer["access_token"]))
