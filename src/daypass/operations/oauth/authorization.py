"""The authorization request of a client, and the code that a person's consent gives it.

A code is bound to the client, the redirect URI, the PKCE challenge and, if the client asked for it, a DPoP key. It stands
for the person's browser session: when that ends before the code is redeemed, the code is refused.
Sources: RFC 6749, 4.1; RFC 7636; RFC 9126; RFC 9207; OpenID Connect Core 1.0, 3.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec import Struct

from daypass.domain.directory import OAuthClient, ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.oauth.client import ClientSettings, parse_client
from daypass.domain.oauth.resource_server import parse_resource_server
from daypass.domain.oauth.urls import is_challenge, is_registered
from daypass.operations.assume.request import consume, requested_role
from daypass.operations.authorize import Own
from daypass.operations.management import allow_own
from daypass.operations.oauth import codes
from daypass.operations.oauth.client_authentication import AuthenticatedClient, charge_write, registered_client
from daypass.operations.oauth.targets import registered
from daypass.operations.outcome import OWNER, served
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env, Tx

GRANT: Final = "authorization_code"
OPENID: Final = "openid"
CODE_MS: Final = 60_000
PUSHED_MS: Final = 590_000  # less than 600 s (FAPI 2.0 Security Profile, 5.3.2.2)
URI_PREFIX: Final = "urn:ietf:params:oauth:request_uri:"

Consented = Literal["given", "given and remembered", "remembered"]
"""How a person consents to one request: now, now and for later ones, or earlier."""


class AuthorizationRequest(Struct, frozen=True):
    """A validated request."""

    client_id: str
    redirect_uri: str
    code_challenge: str
    state: str = ""
    # role, details: the role, and the authorization details as text; see `wire.oauth.errors.Details`.
    role: str = ""
    details: str = ""
    audiences: tuple[str, ...] = ()
    scope: tuple[str, ...] | None = None  # without `openid`; None: not given
    openid: bool = False  # whether an ID token is asked for
    nonce: str = ""
    prompt: frozenset[str] = frozenset()
    max_age: int = -1  # seconds; -1: not given
    mfa: bool = False
    dpop_jkt: str = ""  # the key that the code is bound to (RFC 9449, 10); "" for none
    subject: str = ""  # `sub` of the only person who may answer, from `id_token_hint`; "" for anyone
    openid_scopes: tuple[str, ...] = ()  # `openid` and the scopes for claims, as they were asked for
    names_redirect_uri: bool = True  # whether the request has the redirect URI; otherwise it is the client's only one


_read_request = msgspec.json.Decoder(AuthorizationRequest).decode


class Authorization(Struct, frozen=True):
    """The content of an authorization code: the request, and the browser session of the person who consented.

    `consent_id`: see `consent_id`; "" for a device, whose consents are not remembered. `remembered`: the consent must still
    be remembered when the code is redeemed.
    """

    request: AuthorizationRequest
    browser: str
    session_id: str
    consent_id: str = ""
    remembered: bool = False


read_authorization = msgspec.json.Decoder(Authorization).decode


class KnownClient(Struct, frozen=True):
    """A client that may send people here, and its settings."""

    client: OAuthClient
    settings: ClientSettings


async def client_for(env: Env, unverified_id: str, unverified_uri: str, account: str = "") -> KnownClient:
    """The client of a request, if the redirect URI is registered for it (attack A66). `account`: of the person, if known.

    Any refusal is shown to the person, because no answer may be sent to an address that is not the client's. Raises
    DaypassError(VALIDATION).
    """
    known = await client_by_id(env, unverified_id, account)
    client = known.client
    if not unverified_uri and len(known.settings.redirect_uris) == 1:  # RFC 6749, 3.1.2.3
        return known
    if not is_registered(unverified_uri, known.settings.redirect_uris):
        raise DaypassError(
            ErrorKind.VALIDATION,
            "The redirect_uri is not registered for this application.",
            private={OWNER: client.account, "client_id": client.id, "unverified_redirect_uri": unverified_uri[:256]},
        )
    return known


async def client_by_id(env: Env, client_id: str, account: str = "") -> KnownClient:
    """The client of a stored request. Raises DaypassError: VALIDATION when it is gone or disabled, IDP_COMMUNICATION."""
    client = await registered_client(env, client_id, account)
    if client is None or not client.enabled:
        raise DaypassError(ErrorKind.VALIDATION, "This application is not registered here.")
    return KnownClient(client, parse_client(client.settings))


def check_challenge(settings: ClientSettings, request: AuthorizationRequest, method: str) -> None:
    """`method`: code_challenge_method. Raises DaypassError(VALIDATION): PKCE is required (attack A67), unless the client's
    settings say otherwise.
    """
    if not request.code_challenge and not method and "pkce" in settings.fapi_exceptions:
        return
    if method != "S256" or not is_challenge(request.code_challenge):
        raise DaypassError(
            ErrorKind.VALIDATION, "code_challenge with code_challenge_method=S256 is required (RFC 7636)."
        )


def check(env: Env, settings: ClientSettings, request: AuthorizationRequest, grant: str) -> None:
    """Checks what the client may ask for, before a person is asked. Raises DaypassError: UNAUTHORIZED_CLIENT, VALIDATION,
    INVALID_AUTHORIZATION_DETAILS, INVALID_SCOPE, INVALID_TARGET.
    """
    if grant not in settings.grant_types:
        raise DaypassError(ErrorKind.UNAUTHORIZED_CLIENT, "The client may not use this grant.")
    if request.role:
        requested_role(request.role)  # pages show its parts
    if request.role and not settings.may_assume(request.role):
        raise DaypassError(ErrorKind.INVALID_AUTHORIZATION_DETAILS, "The client may not ask for this role.")
    if not (request.role or request.openid or request.audiences):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "Name a role or a resource, or ask for the scope openid.")
    if not set(request.scope or ()) <= set(settings.scopes):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The client may not ask for this scope.")
    if not set(request.audiences) <= settings.allowed_audiences(env.oauth.issuer):
        raise DaypassError(ErrorKind.INVALID_TARGET, "The client may not ask for this audience.")


async def check_scope(env: Env, request: AuthorizationRequest) -> None:
    """Whether the resource servers can give a token for the scope, before a person is asked. Raises DaypassError(INVALID_SCOPE)."""
    for name in request.audiences:
        server = await registered(env, name)
        known = parse_resource_server(server.settings) if server is not None else None
        if known is not None and known.scopes and not (request.scope or known.default_scopes):
            raise DaypassError(ErrorKind.INVALID_SCOPE, "The resource server requires a scope.")


def check_person(known: KnownClient, signed_in: SignedIn) -> None:
    """A client signs in the people of its own account, the command line those of every account. Raises DaypassError(ACCESS_DENIED)."""
    if known.client.account not in ("", signed_in.row.account):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            "This application belongs to another account than the one that you are signed in to.",
            private={"client_id": known.client.id},
        )


def consent_id(known: KnownClient, request: AuthorizationRequest, person: SignedIn) -> str:
    """The digest of what a consent is for. Lengths are part of it: no two requests have the same text."""
    parts = (
        person.row.account,
        person.person_id,
        known.client.id,
        known.client.updated_at,
        known.client.settings,
        request.redirect_uri,
        request.role,
        request.details,
        sorted(request.audiences),
        sorted(request.scope or ()),
        sorted(request.openid_scopes),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


async def push(
    env: Env,
    call: Call,
    client: AuthenticatedClient,
    request: AuthorizationRequest,
    replays: tuple[ReplayEntry, ...] = (),
) -> str:
    """daypass:PushAuthorizationRequest (RFC 9126): the request_uri. It consumes the one-time proofs of the client.

    Raises DaypassError: INVALID_CLIENT when a proof was used before, THROTTLED, UNAVAILABLE.
    """
    charge_write(env, call.facts, client)
    value = codes.new_value(env)
    row = codes.new_row(env, codes.REQUEST_URI, value, client.client, request, PUSHED_MS)
    detail = {"client_id": client.client.id, "redirect_uri": request.redirect_uri, "role": request.role}
    event = client.served(call, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        for entry in replays:
            consume(tx, entry)
        codes.insert(tx, row)
        return None, event

    await env.journal.write(change, account=call.source.lane)
    return URI_PREFIX + value


async def pushed(env: Env, call: Call, client_id: str, unverified_uri: str) -> AuthorizationRequest:
    """The request that a client has pushed. Raises DaypassError(VALIDATION) for an unknown, expired or another one's."""
    value = unverified_uri.removeprefix(URI_PREFIX)
    code = None
    if value != unverified_uri:
        code = await codes.find_code(env, call.source, codes.REQUEST_URI, client_id, value, _read_request)
    if code is None or code.row.used_at:
        raise DaypassError(ErrorKind.VALIDATION, "The request_uri is unknown, has expired or was used before.")
    return code.content


async def grant_code(
    env: Env,
    call: Call,
    known: KnownClient,
    request: AuthorizationRequest,
    signed_in: SignedIn,
    request_uri: str,
    *,
    consent: Consented = "given",
    also: Callable[[Tx], None] = lambda _: None,
) -> str:
    """daypass:AuthorizeClient: the code of a person's consent. It consumes the pushed request.

    `also` writes more in the same transaction.
    Raises DaypassError: ACCESS_DENIED when a policy of the person denies it, VALIDATION when the pushed
    request was used before, UNAVAILABLE.
    """
    client = known.client
    decision = await allow_own(env, call, "AuthorizeClient", "client", client.id, Own.RESTRICTED)
    content = Authorization(
        request, signed_in.row.id, signed_in.row.session_id, consent_id(known, request, signed_in), consent != "given"
    )
    value = codes.new_value(env)
    row = codes.new_row(env, codes.AUTHORIZATION, value, client, content, CODE_MS)
    detail = {
        "client_id": client.id,
        "redirect_uri": request.redirect_uri,
        "role": request.role,
        "audience": request.audiences,
        "scope": request.scope,
        "consent": consent,
    }
    event = served(call, session_id=signed_in.row.session_id, decision=decision, detail=detail)
    code = None
    if request_uri:
        name = request_uri.removeprefix(URI_PREFIX)
        code = await codes.find_code(env, call.source, codes.REQUEST_URI, client.id, name, _read_request)
        if code is None:
            raise DaypassError(ErrorKind.VALIDATION, "The request_uri has expired.")

    def change(tx: Tx) -> tuple[None, Event]:
        if code is not None:
            codes.use(tx, code, call.now, row.id)
        also(tx)
        codes.insert(tx, row)
        return None, event

    await env.journal.write(change, account=client.account)
    return value


async def person_of(env: Env, content: Authorization, now: int) -> SignedIn | None:
    """The person of a code, if their browser is still signed in with the same session."""
    signed_in = await browser_session.read_by_id(env, content.browser, now)
    return signed_in if signed_in is not None and signed_in.row.session_id == content.session_id else None
