"""`daypass resource-server`: services that accept access tokens of an account, and their scopes as session policies."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from daypass.api import oauth
from daypass.cli import output
from daypass.cli.described import group_of
from daypass.cli.files import parsed, text_at
from daypass.cli.options import (
    Connect,
    Fields,
    Result,
    account_option,
    server_command,
    yes_option,
)
from daypass.cli.replacing import agree_settings, unless_absent
from daypass.client.http import segment

_PATH = "/resource-servers"
resource_server = group_of("resource-server", "Services that accept access tokens of your account.", oauth)


def _one(identifier: str) -> str:
    return f"{_PATH}/{segment(identifier)}"


@resource_server.command("put")
@click.argument("identifier")
@click.option("--name", default="", metavar="NAME", help="For people. Default: IDENTIFIER.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="NAME[=FILE]",
    help="A scope, and the file with the session policy that it stands for; repeatable.",
)
@click.option("--default-scope", "defaults", multiple=True, metavar="NAME", help="For requests without a scope.")
@click.option("--algorithm", type=click.Choice(["ES256", "EdDSA", "RS256"]), help="Signs tokens for it.")
@click.option("--routes", metavar="FILE", help="JSON: what requests mean that a proxy asks about.")
@click.option("--origin", metavar="URL", help="Scheme and host of the service, if not those of IDENTIFIER.")
@click.option("--token-seconds", default=0, metavar="SECONDS", help="The longest lifetime of tokens for it.")
@account_option
@yes_option
@server_command
def put(
    identifier: str, name: str, scopes: tuple[str, ...], defaults: tuple[str, ...], connect: Connect, **given: Any
) -> Result:
    """Create or replace a resource server. IDENTIFIER is the audience of its tokens.

    What replaces settings of one that exists is shown, and done after you confirm it.

    \b
    daypass resource-server put https://api.example.com --scope read=read.json --default-scope read
    """  # noqa: D301  # click reads the control character
    settings: dict[str, Any] = {"scopes": dict(map(_scope, scopes))}
    if defaults:
        settings["default_scopes"] = list(defaults)
    if given["algorithm"]:
        settings["algorithm"] = given["algorithm"]
    if given["routes"]:
        settings["routes"] = parsed(text_at(given["routes"]), given["routes"])
    if given["origin"]:
        settings["origin"] = given["origin"]
    if given["token_seconds"]:
        settings["token_seconds"] = given["token_seconds"]
    body = {"name": name or identifier[:128], "settings": settings}
    connection = connect()
    path, query = _one(identifier), {"account": given["account"]}
    if found := unless_absent(lambda: connection.api("GET", path, query)):
        stored = {"name": found["name"], **found["settings"]}
        agree_settings(f"Resource server {identifier}", stored, {"name": body["name"], **settings}, yes=given["yes"])
    made = connection.api("PUT", path, query, body)
    return Result(made, Fields({"identifier": made["identifier"], "arn": made["arn"]}))


def _scope(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, file = text.partition("=")
    if not equals:
        return name, {}
    return name, {"policy": parsed(text_at(file), file)}


@resource_server.command("metadata")
@click.argument("identifier")
@account_option
@server_command
def metadata(identifier: str, account: str, connect: Connect) -> Result:
    """Print the document for the service's own /.well-known/oauth-protected-resource (RFC 9728)."""
    found = connect().api("GET", _one(identifier) + "/metadata", {"account": account})
    return Result(found, partial(output.data, found))
