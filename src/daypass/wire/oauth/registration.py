"""The registration endpoints: dynamic client registration (RFC 7591) and its management by the client (RFC 7592)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.directory import OAuthClient
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.oauth.client import SECRET_METHODS, parse_client
from daypass.domain.oauth.registration import metadata_of
from daypass.domain.strict_json import read_json
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.registration import (
    Registered,
    delete_registration,
    register,
    registered_by,
    update_registration,
)
from daypass.operations.outcome import event_of
from daypass.ports import Call
from daypass.wire.access_token import SCHEMES, authorization_of, by_access_token
from daypass.wire.http import Response
from daypass.wire.oauth.endpoint import EndpointContext, answer
from daypass.wire.oauth.errors import JSON, NO_STORE

PATH: Final = "/oauth2/register"
OPERATION: Final = "daypass:RegisterClient"
_MAX_BODY: Final = 65_536
_TOKENS: Final = 2.0


async def create(ctx: EndpointContext) -> Response:
    """POST /oauth2/register, with an access token of whoever may create clients."""
    _check_enabled(ctx)
    ctx.unproven, ctx.resource, ctx.unacceptable = "invalid_token", True, "access_denied"
    if authorization_of(ctx.request)[0] not in SCHEMES:
        raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "Registration takes an initial access token.")
    call = await by_access_token(ctx.front, ctx.progress, _TOKENS, ctx.certificate_header)
    made = await register(ctx.env, call, _document(ctx))
    return replace(answer(_shown(ctx, made)), status=201)


async def manage(ctx: EndpointContext) -> Response:
    """GET, PUT and DELETE /oauth2/register/CLIENT_ID, with the client's registration access token."""
    _check_enabled(ctx)
    ctx.unproven, ctx.resource = "invalid_token", True
    call = ctx.anonymous()
    scheme, token = authorization_of(ctx.request)
    if scheme != "bearer":
        raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "The client sends its registration access token.")
    client_id = ctx.request.raw_path.decode("latin-1").removeprefix(f"{PATH}/")
    client = await registered_by(ctx.env, client_id, token)
    if ctx.request.method == "DELETE":
        await delete_registration(ctx.env, call, client)
        return Response(204, b"", JSON, NO_STORE)
    if ctx.request.method == "PUT":
        made = await update_registration(ctx.env, call, client, _document(ctx), token)
        return answer(_shown(ctx, made))
    await _record(ctx, call, client)
    return answer(_shown(ctx, Registered(client, token)))


async def _record(ctx: EndpointContext, call: Call, client: OAuthClient) -> None:
    actor = AuthenticatedClient(client, parse_client(client.settings)).actor
    event = event_of(EventType.REQUEST_ALLOWED, call.facts, actor, at=call.now, account=client.account)
    await ctx.env.journal.commit(event)


def _check_enabled(ctx: EndpointContext) -> None:
    if not ctx.server.registration:
        raise DaypassError(ErrorKind.NOT_FOUND, "Dynamic registration is off: oauth.registration is not set.")


def _document(ctx: EndpointContext) -> Mapping[str, Any]:
    if len(ctx.request.body) > _MAX_BODY:
        raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {_MAX_BODY} bytes.")
    try:
        document = read_json(ctx.request.body)
    except ValueError as error:
        raise DaypassError(ErrorKind.INVALID_CLIENT_METADATA, f"The metadata cannot be read: {error}.") from None
    if not isinstance(document, dict):
        raise DaypassError(ErrorKind.INVALID_CLIENT_METADATA, "The metadata are a JSON object.")
    return document


def _shown(ctx: EndpointContext, made: Registered) -> dict[str, Any]:
    """The client information response (RFC 7591, 3.2.1; RFC 7592, 3)."""
    client, settings = made.client, parse_client(made.client.settings)
    shown = {
        "client_id": client.id,
        "client_id_issued_at": client.created_at // 1000,
        "client_name": client.name,
        "registration_access_token": made.token,
        "registration_client_uri": f"{ctx.server.issuer}{PATH}/{client.id}",
        **metadata_of(settings),
    }
    if settings.token_endpoint_auth_method in SECRET_METHODS:
        shown |= {"client_secret_expires_at": 0, **({"client_secret": made.secret} if made.secret else {})}
    return shown
