"""`daypass client`: the OAuth clients of an account, how they authenticate, and what they may ask for."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from daypass.api import oauth
from daypass.cli import output
from daypass.cli.described import add_commands, group_of
from daypass.cli.files import parsed, text_at
from daypass.cli.options import CommandGroup, CommandResult, Connect, Fields, account_option, server_command, yes_option
from daypass.cli.provider import merged
from daypass.cli.replacing import agree_settings, unless_absent
from daypass.client.http import segment

_PATH = "/clients"
client = CommandGroup("client", help="OAuth clients of your account.")
client.add_command(CommandGroup("secret", help="Secrets of a client. Two can be active, so that they can be rotated."))
add_commands(client, oauth)


def _one(client_id: str, what: str = "") -> str:
    return f"{_PATH}/{segment(client_id)}{what}"


@client.command("create")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[MEMBER=VALUE]...")
@account_option
@server_command
def create(name: str, settings: tuple[str, ...], account: str, connect: Connect) -> CommandResult:
    """Create an OAuth client. VALUE is JSON or text, @FILE what a file contains (@- standard input).

    Without token_endpoint_auth_method it authenticates with private_key_jwt: give jwks or jwks_uri.

    \b
    daypass client create deployer jwks=@jwks.json 'grant_types=["client_credentials"]' 'roles=["*"]'
    daypass client create app token_endpoint_auth_method=none 'grant_types=["authorization_code","refresh_token"]'
    'redirect_uris=["http://127.0.0.1/callback"]'
    """  # noqa: D301  # click reads the control character
    body = {"name": name, "settings": _with_objects(merged({}, settings))}
    made = connect().api("POST", _PATH, {"account": account}, body)
    return CommandResult(made, Fields({"client id": made["client_id"], "arn": made["arn"]}))


@client.command("set")
@click.argument("client_id")
@click.argument("settings", nargs=-1, metavar="[MEMBER=VALUE]...")
@click.option("--name", default=None, metavar="NAME", help="A new name.")
@click.option("--enable/--disable", "enabled", default=None, help="A disabled client cannot authenticate.")
@account_option
@yes_option
@server_command
def set_(
    client_id: str,
    settings: tuple[str, ...],
    name: str | None,
    enabled: bool | None,
    account: str,
    yes: bool,
    connect: Connect,
) -> CommandResult:
    """Change a client. Settings that are not named stay; MEMBER= restores the default.

    Shows the change and asks first.
    """
    connection, query = connect(), {"account": account}
    body: dict[str, Any] = {}
    if settings:
        now = connection.api("GET", _one(client_id), query)["settings"]
        body["settings"] = _with_objects(merged(now, settings))
        agree_settings(f"Client {client_id}", now, body["settings"], yes=yes)
    if name is not None:
        body["name"] = name
    if enabled is not None:
        body["enabled"] = enabled
    if not body:
        raise click.UsageError("Say what to change: MEMBER=VALUE, --name, --enable or --disable.")
    made = connection.api("PUT", _one(client_id), query, body)
    return CommandResult(made, f"Changed {made['client_id']}.")


def _with_objects(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the JSON of a file as an object: `merged` returns the text of a file."""
    found = settings.get("jwks")
    return {**settings, "jwks": parsed(found, "jwks")} if isinstance(found, str) else settings


# --- Resource servers


_SERVERS = "/resource-servers"
resource_server = group_of("resource-server", "Services that accept access tokens of your account.", oauth)


def _server_path(identifier: str) -> str:
    return f"{_SERVERS}/{segment(identifier)}"


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
) -> CommandResult:
    """Create or replace a resource server. IDENTIFIER is the audience of its tokens.

    Shows the change and asks first.

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
    path, query = _server_path(identifier), {"account": given["account"]}
    if found := unless_absent(lambda: connection.api("GET", path, query)):
        stored = {"name": found["name"], **found["settings"]}
        agree_settings(f"Resource server {identifier}", stored, {"name": body["name"], **settings}, yes=given["yes"])
    made = connection.api("PUT", path, query, body)
    return CommandResult(made, Fields({"identifier": made["identifier"], "arn": made["arn"]}))


def _scope(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, file = text.partition("=")
    if not equals:
        return name, {}
    return name, {"policy": parsed(text_at(file), file)}


@resource_server.command("metadata")
@click.argument("identifier")
@account_option
@server_command
def metadata(identifier: str, account: str, connect: Connect) -> CommandResult:
    """Print the document for the service's own /.well-known/oauth-protected-resource (RFC 9728)."""
    found = connect().api("GET", _server_path(identifier) + "/metadata", {"account": account})
    return CommandResult(found, partial(output.data, found))
