"""The registration endpoints: dynamic client registration (RFC 7591) and its management by the client (RFC 7592)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import Source
from daypass.domain.claims import Proof
from daypass.domain.directory import OAuthClient
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import SECRET_METHODS, parse_client
from daypass.domain.oauth.client_metadata import metadata_of
from daypass.domain.strict_json import read_json
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.registration import (
    RegisteredClient,
    delete_registration,
    register,
    registered_by,
    update_registration,
)
from daypass.operations.oauth.request import TokenRequest
from daypass.operations.rates import charge_client
from daypass.wire.access_token import SCHEMES, authorization_of, by_access_token
from daypass.wire.client_certificate import NAMES
from daypass.wire.http import Response
from daypass.wire.oauth.endpoint import EndpointContext, answer
from daypass.wire.oauth.errors import JSON, NO_STORE, Details

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
    ctx.client = AuthenticatedClient(client, parse_client(client.settings))
    charge_client(ctx.env, Source(account=client.account, principal=client.id), client.id)
    if ctx.request.method == "DELETE":
        await delete_registration(ctx.env, call, client)
        return Response(204, b"", JSON, NO_STORE)
    if ctx.request.method == "PUT":
        made = await update_registration(ctx.env, call, client, _document(ctx), token)
        return answer(_shown(ctx, made))
    await ctx.env.journal.commit(ctx.client.served(call))
    return answer(_shown(ctx, RegisteredClient(client, token)))


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


def _shown(ctx: EndpointContext, made: RegisteredClient) -> dict[str, Any]:
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


# --- Token requests that repeat, byte for byte, one that was served


_MAX_ENTRIES: Final = 2_048
_LONGEST: Final = 1_024  # bytes of a body
_LARGEST: Final = (
    4_096  # characters of a client: it is kept after it has been changed, until others take its place (attack A320)
)
_OTHER_PROOFS: Final = NAMES | {b"dpop"}


class Repeatable(Struct, frozen=True):
    """The stored part of a request for client credentials. `detail`: for the record of a refusal."""

    client: AuthenticatedClient
    request: TokenRequest
    details: Details
    proof: Proof
    detail: Mapping[str, Any]


def digest_of(ctx: EndpointContext) -> bytes:
    """A digest that recognizes a repeated request. b"" for one that cannot be recognized by its credentials and body alone."""
    request, headers = ctx.request, dict(ctx.request.headers)
    own = headers.get(b"authorization")
    if own is None or len(headers) != len(request.headers) or request.raw_query or len(request.body) > _LONGEST:
        return b""
    if request.peer_certificate or not _OTHER_PROOFS.isdisjoint(headers) or ctx.certificate_header.encode() in headers:
        return b""
    # The header has a secret of 320 random bits, which the digest does not reveal.
    return sha256(b"\0".join((own, headers.get(b"content-type", b""), request.body))).digest()


class RepeatedRequests:
    """The requests of this process. At most `most` are kept; the least recently used is dropped first."""

    def __init__(self, most: int = _MAX_ENTRIES) -> None:
        self._kept: OrderedDict[bytes, Repeatable] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, ctx: EndpointContext) -> Repeatable | None:
        """The request that this one repeats, charged to its client; None if it must be read. Raises DaypassError(THROTTLED,
        UNAVAILABLE).
        """
        digest = digest_of(ctx)
        repeatable = self._kept.get(digest)
        if repeatable is None:
            return None
        client = repeatable.client.client
        if await ctx.env.directory.entity(OAuthClient, client.id) is not client:  # it was changed, disabled or deleted
            self._kept.pop(digest, None)
            return None
        self._kept.move_to_end(digest)
        ctx.client, ctx.detail = repeatable.client, dict(repeatable.detail)
        charge_client(ctx.env, Source(account=client.account, principal=client.id), client.id)
        return repeatable

    def keep(self, ctx: EndpointContext, request: TokenRequest, details: Details, proof: Proof) -> None:
        """Keeps a served request, if the secret of its client is all that it proves."""
        client, digest = request.sender.known_client, digest_of(ctx)
        only_secret = client.method == "client_secret_basic" and request.sender.binding is None
        if not digest or not only_secret:
            return
        if len(client.client.settings) + sum(map(len, chain.from_iterable(client.client.tags))) > _LARGEST:
            return
        self._kept[digest] = Repeatable(client, request, details, proof, dict(ctx.detail))
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


REPEATED: Final = RepeatedRequests()
