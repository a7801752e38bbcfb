"""OAuth clients and resource servers: the lists, their settings, and the changes of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from daypass.operations.oauth import clients as oauth_clients
from daypass.operations.oauth import resource_servers
from daypass.wire.console.change import Change
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.forms import Field, FormView
from daypass.wire.console.members import members_of
from daypass.wire.console.table import Cell, TableView, columns, link, table_page
from daypass.wire.http import Response

_ROWS: Final = 50
_CLIENTS: Final = "/console/clients"
_CLIENT: Final = "/console/client"
_SERVERS: Final = "/console/resource-servers"
_SERVER: Final = "/console/resource-server"
_MAX_SETTINGS: Final = 65_536
_NEW_CLIENT: Final = """{
  "token_endpoint_auth_method": "none",
  "grant_types": ["authorization_code", "refresh_token"],
  "redirect_uris": ["https://app.example.com/callback"],
  "roles": []
}"""
_NEW_SERVER: Final = """{
  "scopes": {"read": {}}
}"""
_HINT: Final = "JSON, with the names of RFC 7591"


def _settings_field(text: str, hint: str) -> Field:
    return Field("settings", "Members", text, "code", hint, maxlength=_MAX_SETTINGS)


def _typed(ctx: ConsoleContext, otherwise: str) -> str:
    return ctx.value("settings", _MAX_SETTINGS) or otherwise


async def clients(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/clients: the OAuth clients of the account, oldest first."""
    found, following = await ctx.perform(
        "daypass:ListClients", oauth_clients.CLIENTS.page, "", ctx.value("after", 64), _ROWS
    )
    rows = [
        (
            link(client.name, _CLIENT, id=client.id),
            Cell(client.id),
            Cell(state="active" if client.enabled else "inactive"),
            Cell(at=client.created_at),
        )
        for client in found
    ]
    empty = ("No OAuth clients.", "Applications that act for people are clients.")
    table = TableView(columns("Name", "Client id", "State", "Created"), rows, _CLIENTS, following, empty=empty)
    fields = (
        Field("client_name", "Name", ctx.value("client_name", 128), maxlength=128),
        _settings_field(_typed(ctx, _NEW_CLIENT), _HINT),
    )
    new = FormView(f"{_CLIENTS}/create", "Create the client", "New client", fields)
    return table_page(ctx, "OAuth clients", table, problem=problem, forms=(new,))


async def client(ctx: ConsoleContext, problem: str = "", once: tuple[tuple[str, str], ...] = ()) -> Response:
    """GET /console/client?id=… `once`: a secret with its label, which no other page shows."""
    identifier = ctx.value("id", 64)
    found = await ctx.perform("daypass:GetClient", oauth_clients.CLIENTS.get, identifier)
    hidden, enabled = {"id": found.id}, found.enabled
    members = json.dumps(oauth_clients.describe(found)["settings"], indent=2)
    fields = (
        Field("client_name", "Name", found.name, maxlength=128),
        _settings_field(_typed(ctx, members), _HINT),
    )
    switch = FormView(
        f"{_CLIENT}/switch",
        "Disable the client" if enabled else "Enable the client",
        hidden={**hidden, "enabled": "" if enabled else "yes"},
        danger=enabled,
    )
    return ctx.page(
        "client",
        found.name,
        client=found,
        secrets=[(secret_id, int(made_at)) for secret_id, made_at, _ in found.secrets],
        switch=switch,
        delete=FormView(f"{_CLIENT}/delete", "Delete the client", hidden=hidden, danger=True),
        new_secret=FormView(f"{_CLIENT}/create-secret", "Make a secret", hidden=hidden),
        remove={
            secret_id: FormView(
                f"{_CLIENT}/delete-secret",
                "Delete",
                hidden={**hidden, "secret_id": secret_id},
                label=f"Delete secret {secret_id}",
                danger=True,
            )
            for secret_id, _, _ in found.secrets
        },
        forms=(FormView(f"{_CLIENT}/settings", "Save the settings", "Settings", fields, hidden),),
        problem=problem,
        once=once,
    )


async def _create_client(ctx: ConsoleContext) -> Response:
    members = members_of(ctx.value("settings", _MAX_SETTINGS))
    made = await ctx.perform(
        "daypass:CreateClient", oauth_clients.create_client, ctx.value("client_name", 128), members
    )
    return to(_CLIENT, id=made.id, done="saved")


async def _update_client(ctx: ConsoleContext) -> Response:
    identifier, name = ctx.value("id", 64), ctx.value("client_name", 128)
    members = members_of(ctx.value("settings", _MAX_SETTINGS))
    await ctx.perform("daypass:UpdateClient", oauth_clients.update_client, identifier, name=name, members=members)
    return to(_CLIENT, id=identifier, done="saved")


async def _switch_client(ctx: ConsoleContext) -> Response:
    identifier, enabled = ctx.value("id", 64), ctx.value("enabled", 8) == "yes"
    await ctx.perform("daypass:UpdateClient", oauth_clients.update_client, identifier, enabled=enabled)
    return to(_CLIENT, id=identifier, done="saved")


async def _create_secret(ctx: ConsoleContext) -> Response:
    new_secret = await ctx.perform(
        "daypass:CreateClientSecret", oauth_clients.create_client_secret, ctx.value("id", 64)
    )
    return await client(ctx, once=(("Client secret", new_secret.secret),))


async def _delete_secret(ctx: ConsoleContext) -> Response:
    identifier, secret = ctx.value("id", 64), ctx.value("secret_id", 64)
    await ctx.perform("daypass:DeleteClientSecret", oauth_clients.delete_client_secret, identifier, secret)
    return to(_CLIENT, id=identifier, done="saved")


async def _delete_client(ctx: ConsoleContext) -> Response:
    await ctx.perform("daypass:DeleteClient", oauth_clients.delete_client, ctx.value("id", 64))
    return to(_CLIENTS, done="deleted")


# --- Resource servers ------------------------------------------------------------------------------------------------


async def servers(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/resource-servers: by identifier."""
    found, following = await ctx.perform(
        "daypass:ListResourceServers", resource_servers.SERVERS.page, "", ctx.value("after", 512), _ROWS
    )
    rows = [
        (link(server.identifier, _SERVER, id=server.identifier), Cell(server.name), Cell(at=server.updated_at))
        for server in found
    ]
    empty = (
        "No resource servers.",
        "Services that accept access tokens are resource servers. Their scopes limit tokens.",
    )
    table = TableView(columns("Identifier", "Name", "Changed"), rows, _SERVERS, following, empty=empty)
    fields = (
        Field("id", "Identifier", ctx.value("id", 512), hint="The audience of its tokens", maxlength=512),
        Field("server_name", "Name", ctx.value("server_name", 128), maxlength=128),
        _settings_field(_typed(ctx, _NEW_SERVER), "JSON"),
    )
    new = FormView(f"{_SERVERS}/create", "Create the resource server", "New resource server", fields)
    return table_page(ctx, "Resource servers", table, problem=problem, forms=(new,))


async def server(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/resource-server?id=…"""
    identifier = ctx.value("id", 512)
    found = await ctx.perform("daypass:GetResourceServer", resource_servers.SERVERS.get, identifier)
    members = json.dumps(resource_servers.describe(found)["settings"], indent=2)
    hidden = {"id": found.identifier}
    fields = (Field("server_name", "Name", found.name, maxlength=128), _settings_field(_typed(ctx, members), "JSON"))
    return ctx.page(
        "resource_server",
        found.name,
        server=found,
        delete=FormView(f"{_SERVER}/delete", "Delete the resource server", hidden=hidden, danger=True),
        forms=(FormView(f"{_SERVER}/save", "Save the settings", "Settings", fields, hidden),),
        problem=problem,
    )


async def _put_server(ctx: ConsoleContext) -> Response:
    identifier, name = ctx.value("id", 512), ctx.value("server_name", 128)
    members = members_of(ctx.value("settings", _MAX_SETTINGS))
    await ctx.perform("daypass:PutResourceServer", resource_servers.put_resource_server, identifier, name, members)
    return to(_SERVER, id=identifier, done="saved")


async def _delete_server(ctx: ConsoleContext) -> Response:
    await ctx.perform("daypass:DeleteResourceServer", resource_servers.SERVERS.delete, ctx.value("id", 512))
    return to(_SERVERS, done="deleted")


def client_changes() -> Sequence[Change]:
    """Every change of a client or resource server. Each is confirmed: it decides who can act for people, and how far."""
    change = partial(Change, again=client, confirmed=True, of="id")
    listed = partial(Change, again=servers, confirmed=True)
    of_server = partial(Change, again=server, confirmed=True, of="id")
    put = "daypass:PutResourceServer"
    return (
        Change(
            f"{_CLIENTS}/create", "daypass:CreateClient", "Create a client", _create_client, clients, confirmed=True
        ),
        change(f"{_CLIENT}/settings", "daypass:UpdateClient", "Change a client", _update_client),
        change(f"{_CLIENT}/switch", "daypass:UpdateClient", "Enable or disable a client", _switch_client),
        change(f"{_CLIENT}/create-secret", "daypass:CreateClientSecret", "Make a secret of a client", _create_secret),
        change(f"{_CLIENT}/delete-secret", "daypass:DeleteClientSecret", "Delete a secret of a client", _delete_secret),
        change(f"{_CLIENT}/delete", "daypass:DeleteClient", "Delete a client", _delete_client, asks=True),
        listed(f"{_SERVERS}/create", put, "Create a resource server", _put_server),
        of_server(f"{_SERVER}/save", put, "Change a resource server", _put_server),
        of_server(
            f"{_SERVER}/delete",
            "daypass:DeleteResourceServer",
            "Delete a resource server",
            _delete_server,
            asks=True,
        ),
    )
