"""The token endpoint: finds the grant, authenticates the client, and renders the session. It decides nothing.

A new grant is a function in a separate module, and a row of `GRANTS`.
Sources: RFC 6749, 4 and 5; RFC 8693, 2; RFC 7523, 2.1; RFC 8707, 2; RFC 9396, 7; RFC 9449, 5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import iso_time
from daypass.domain.oauth.resource_server import JKT
from daypass.operations.assume.forms import AwsCredentials
from daypass.operations.oauth import code_grant, device
from daypass.operations.oauth.access_token import AccessToken
from daypass.operations.oauth.authorization import Authorization, AuthorizationRequest
from daypass.operations.oauth.exchange import (
    client_credentials,
    client_proof,
    exchange,
    exchange_for_refresh,
    exchange_for_web_identity,
    with_only_role,
)
from daypass.operations.oauth.id_token import authentication_of, id_token, renewed_id_token
from daypass.operations.oauth.identity_assertion import AssertionRequest, issue_identity_assertion
from daypass.operations.oauth.jwt_form import IssuedToken
from daypass.operations.oauth.refresh import refresh
from daypass.operations.oauth.request import (
    ACTOR_TYPES,
    REQUESTED_TYPES,
    SUBJECT_TYPES,
    ExchangeRequest,
    Presented,
    Sender,
    TokenRequest,
    TokenType,
)
from daypass.ports import Call
from daypass.wire.http import Response
from daypass.wire.oauth.client import sender_of
from daypass.wire.oauth.endpoint import (
    OFFLINE,
    REPEATABLE,
    EndpointContext,
    Form,
    answer,
    audiences_of,
    missing,
    one,
    openid_scope_of,
    required,
    scope_of,
)
from daypass.wire.oauth.errors import INVALID_GRANT, TYPE, Details, read_details
from daypass.wire.oauth.registration import REPEATED

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # a name
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_CREDENTIALS: Final = "client_credentials"
REFRESH_TOKEN: Final = "refresh_token"  # a name
AUTHORIZATION_CODE: Final = "authorization_code"
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_OF_EXCHANGE: Final = ("subject_token", "actor_token", "actor_token_type", "requested_token_type")

Serve: TypeAlias = Callable[[EndpointContext, Call, Form, Sender], Awaitable[Mapping[str, Any]]]


class GrantType(NamedTuple):
    """A grant: how it is served, whether it needs a client, and the error code for a proof that is not accepted."""

    serve: Serve
    needs_client: bool = True
    unacceptable: str = INVALID_GRANT


async def token(ctx: EndpointContext) -> Response:
    """POST /oauth2/token."""
    call = ctx.anonymous()
    known = await REPEATED.find(ctx)
    if known is not None:
        ctx.unacceptable = INVALID_GRANT
        issued = await client_credentials(ctx.env, call, known.request, known.proof)
        return answer(rendered(ctx, issued, known.details))
    form = ctx.form(REPEATABLE)
    name = one(form, "grant_type")
    ctx.detail["grant_type"] = name[:64]
    if not name:
        raise missing("grant_type")
    return await serve_grant(ctx, call, form, name)


async def serve_grant(ctx: EndpointContext, call: Call, form: Form, name: str) -> Response:
    """The answer to a grant, of a client that may use it."""
    grant = GRANTS.get(name)
    if grant is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_GRANT_TYPE, f"The grant types here are {', '.join(GRANTS)}.")
    if grant.unacceptable:
        ctx.unacceptable = grant.unacceptable
    sender = await sender_of(ctx, form)
    client = sender.known_client if grant.needs_client else sender.client
    if client is not None and name not in client.settings.grant_types:
        raise DaypassError(ErrorKind.UNAUTHORIZED_CLIENT, "The client may not use this grant.", private=client.private)
    return answer(await grant.serve(ctx, call, form, sender))


# --- Grants ----------------------------------------------------------------------------------------------------------


def token_request(ctx: EndpointContext, form: Form, details: Details, sender: Sender) -> TokenRequest:
    """The requested token, which every grant reads in the same way. Raises DaypassError."""
    requested = TokenType.ACCESS_TOKEN
    if "requested_token_type" in form:
        requested = _type(one(form, "requested_token_type"), "requested_token_type", REQUESTED_TYPES)
    request = TokenRequest(
        details.session,
        details.role,
        details.external_id,
        audiences_of(form),
        scope_of(form),
        requested,
        sender,
        details.may_act,
    )
    ctx.detail |= {"role": details.role, "audience": request.audiences, "requested": requested}
    return request


async def _token_exchange(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> Mapping[str, Any]:
    details = _details(ctx, form)
    actor = None
    if "actor_token" in form or "actor_token_type" in form:
        actor = _presented(form, "actor_token", ACTOR_TYPES)
    subject = _presented(form, "subject_token", SUBJECT_TYPES)
    request = token_request(ctx, form, details, sender)
    if subject.type is TokenType.REFRESH_TOKEN and request.requested is not TokenType.ID_JAG:
        message = "A refresh token is the subject of an identity assertion only: use grant_type=refresh_token."
        raise DaypassError(ErrorKind.INVALID_PARAMETER, message)
    if request.requested is TokenType.REFRESH_TOKEN:
        granted = await exchange_for_refresh(ctx.env, call, ExchangeRequest(subject, request, actor))
        return _not_for_access(ctx, granted.refresh_token, request.requested, granted.expires_at)
    if request.requested is TokenType.ID_JAG:
        assertion = _assertion_request(form, subject, request, actor)
        issued_assertion = await issue_identity_assertion(ctx.env, call, assertion)
        scope = {"scope": " ".join(assertion.scope)} if assertion.scope else {}
        ends = issued_assertion.expires_at
        return {**_not_for_access(ctx, issued_assertion.text, request.requested, ends), **scope}
    if request.requested is TokenType.ID_TOKEN:
        made = await exchange_for_web_identity(ctx.env, call, ExchangeRequest(subject, request, actor))
        return _not_for_access(ctx, made.text, request.requested, made.expires_at)
    issued = await exchange(ctx.env, call, ExchangeRequest(subject, request, actor))
    return {**rendered(ctx, issued, details), "issued_token_type": request.requested}


def _assertion_request(
    form: Form, subject: Presented, request: TokenRequest, actor: Presented | None
) -> AssertionRequest:
    """An identity assertion: `audience` is the other authorization server, `resource` one there."""
    if actor is not None or "role" in form or "authorization_details" in form:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "An identity assertion has no actor and no role.")
    audiences, resources = form.get("audience", ()), form.get("resource", ())
    if len(audiences) != 1 or len(resources) > 1:
        raise DaypassError(
            ErrorKind.INVALID_TARGET, "An identity assertion has one audience, and at most one resource."
        )
    return AssertionRequest(
        subject, audiences[0], request.sender, resources[0] if resources else "", request.scope or ()
    )


async def _jwt_bearer(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> Mapping[str, Any]:
    details = _details(ctx, form)
    if "assertion" not in form:
        raise missing("assertion")
    for name in _OF_EXCHANGE:  # without them the session would differ from the requested one
        if name in form:
            raise DaypassError(ErrorKind.INVALID_PARAMETER, f"The parameter {name} is one of token exchange.")
    subject = Presented(TokenType.JWT, one(form, "assertion"))
    request = ExchangeRequest(subject, token_request(ctx, form, details, sender), assertion=True)
    return rendered(ctx, await exchange(ctx.env, call, request), details)


async def _client_credentials(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> Mapping[str, Any]:
    details = _details(ctx, form)
    request, proof = (
        with_only_role(token_request(ctx, form, details, sender)),
        client_proof(ctx.env, sender.known_client),
    )
    issued = await client_credentials(ctx.env, call, request, proof)
    REPEATED.keep(ctx, request, details, proof)
    return rendered(ctx, issued, details)


async def _refresh(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> Mapping[str, Any]:
    """The role and the session are those of the first token; they cannot be asked for again."""
    for name in ("role", "authorization_details"):
        if name in form:
            raise DaypassError(ErrorKind.INVALID_PARAMETER, f"The parameter {name} is one of the first token.")
    text = required(form, "refresh_token")
    request = token_request(ctx, form, read_details("", ""), sender)
    # Libraries repeat the scope of the first request.
    _, scope = openid_scope_of(form, sender.known_client.settings.scopes)
    request = replace(request, scope=scope)
    granted = await refresh(ctx.env, call, text, request)
    response = {**rendered(ctx, granted.issued, read_details("", "")), "refresh_token": granted.refresh_token}
    if granted.content is not None:
        text = await renewed_id_token(ctx.env, sender.known_client, granted.content)
        response |= {"id_token": text} if text else {}
    return response


async def _authorization_code(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> Mapping[str, Any]:
    for name in ("role", "authorization_details"):
        if name in form:  # what is issued was decided by the person's consent
            raise DaypassError(
                ErrorKind.INVALID_PARAMETER, f"The parameter {name} is one of the authorization request."
            )
    code = await code_grant.find(ctx.env, call, sender, required(form, "code"))
    authorized = code.content.request
    _, scope = openid_scope_of(form, sender.known_client.settings.scopes)
    if "scope" in form and set(scope or ()) != set(authorized.scope or ()):  # some libraries repeat it
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The scope is not that of the authorization request.")
    details = read_details("" if authorized.details else authorized.role, authorized.details)
    audiences = _consented_audiences(audiences_of(form), authorized.audiences)
    request = TokenRequest(
        details.session,
        details.role,
        details.external_id,
        audiences,
        authorized.scope,
        sender=sender,
        openid=authorized.openid_scopes,
    )
    ctx.detail |= {"role": details.role, "audience": request.audiences}
    redirect_uri = required(form, "redirect_uri") if authorized.names_redirect_uri else one(form, "redirect_uri")
    verifier = required(form, "code_verifier") if authorized.code_challenge else one(form, "code_verifier")
    redeemed = await code_grant.redeem(ctx.env, call, code, request, redirect_uri, verifier)
    return await _consented(ctx, sender, redeemed, authorized, details)


def _consented_audiences(wanted: tuple[str, ...], consented: tuple[str, ...]) -> tuple[str, ...]:
    """The audiences of the token request, within those of the authorization request (RFC 8707, 2.2). Raises DaypassError(INVALID_TARGET)."""
    if not set(wanted) <= set(consented):
        raise DaypassError(ErrorKind.INVALID_TARGET, "The person has not consented to a token for this resource.")
    return wanted or consented


async def _device_code(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> Mapping[str, Any]:
    code = await device.poll(ctx.env, call, sender, required(form, "device_code"))
    grant, authorized = code.content, code.content.request
    details = read_details("" if authorized.details else authorized.role, authorized.details)
    request = TokenRequest(
        details.session,
        details.role,
        details.external_id,
        authorized.audiences,
        authorized.scope,
        sender=sender,
        openid=authorized.openid_scopes,
    )
    ctx.detail |= {"role": details.role, "audience": request.audiences}
    allowed = Authorization(authorized, grant.browser, grant.session_id)
    redeemed = await code_grant.consented(ctx.env, call, code, allowed, request)
    return await _consented(ctx, sender, redeemed, authorized, details)


async def _consented(
    ctx: EndpointContext,
    sender: Sender,
    redeemed: code_grant.Redeemed,
    authorized: AuthorizationRequest,
    details: Details,
) -> Mapping[str, Any]:
    response = rendered(ctx, redeemed.granted.issued, details)
    if redeemed.granted.refresh_token:
        response["refresh_token"] = redeemed.granted.refresh_token
        openid = authorized.openid_scopes
    else:
        openid = tuple(name for name in authorized.openid_scopes if name != OFFLINE)
    if openid:
        response["scope"] = " ".join((*openid, *filter(None, [response.get("scope")])))
    if authorized.openid:
        person = redeemed.person
        response["id_token"] = await id_token(
            ctx.env,
            sender.known_client,
            authorized.openid_scopes,
            person.session,
            authentication_of(person),
            authorized.nonce,
        )
    return response


GRANTS: Final[Mapping[str, GrantType]] = {
    AUTHORIZATION_CODE: GrantType(_authorization_code),
    DEVICE_CODE: GrantType(_device_code),
    TOKEN_EXCHANGE: GrantType(_token_exchange, needs_client=False, unacceptable=""),
    JWT_BEARER: GrantType(_jwt_bearer, needs_client=False),
    CLIENT_CREDENTIALS: GrantType(_client_credentials),
    REFRESH_TOKEN: GrantType(_refresh),
}
"""The grants by name. The metadata list exactly these."""


def _details(ctx: EndpointContext, form: Form) -> Details:
    return read_details(one(form, "role"), one(form, "authorization_details"), ctx.env.oauth.issuer)


def _presented(form: Form, name: str, types: frozenset[TokenType]) -> Presented:
    for needed in (name, f"{name}_type"):
        if needed not in form:
            raise missing(needed)
    text = one(form, name).rstrip("\r\n")  # of a file or a command whose output ends with a line break
    return Presented(_type(one(form, f"{name}_type"), f"{name}_type", types), text)


def _type(text: str, name: str, types: frozenset[TokenType]) -> TokenType:
    if text not in types:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, f"{name} must be one of: {', '.join(sorted(types))}.")
    return TokenType(text)


# --- Responses -------------------------------------------------------------------------------------------------------


def rendered(ctx: EndpointContext, issued: IssuedToken, details: Details) -> dict[str, Any]:
    """The members of a response (RFC 6749, 5.1)."""
    session, credential = issued.session, issued.credential
    response: dict[str, Any] = {"expires_in": max(0, session.expires_at - ctx.env.clock.now()) // 1000}
    if isinstance(credential, AccessToken):
        bound = credential.binding is not None and credential.binding.member == JKT
        response |= {"access_token": credential.text, "token_type": "DPoP" if bound else "Bearer"}
        if credential.scope:
            response["scope"] = " ".join(credential.scope)
    else:
        response |= _aws_members(credential, session.expires_at)
    if details.role:
        response["authorization_details"] = [
            {"type": TYPE, "role": details.role, "role_session_name": session.name, "session_id": session.session_id}
        ]
    return response


def _not_for_access(ctx: EndpointContext, text: str, kind: TokenType, expires_at: int) -> dict[str, Any]:
    """The response with a token that is not an access token (RFC 8693, 2.2.1)."""
    left = max(0, expires_at - ctx.env.clock.now()) // 1000
    return {"access_token": text, "token_type": "N_A", "issued_token_type": kind, "expires_in": left}


def _aws_members(credential: AwsCredentials, expires_at: int) -> dict[str, Any]:
    """AWS credentials: the session token as the token, with its key id and secret."""
    return {
        "access_token": credential.token,
        "token_type": "N_A",
        "access_key_id": credential.access_key_id,
        "secret_access_key": credential.secret,
        "expiration": iso_time(expires_at // 1000),
    }
