"""AWS Sign-In: `aws login` against this server, and the renewal by every AWS SDK that knows the `login` provider.

A request for a code is one of `/oauth2/authorize` under another address. Tokens are AWS credentials of 15 minutes and a
refresh token, which is bound to the tool's key. AWS's tools send no nonce in their proofs, so a proof is accepted for as
long as its time is right, once.
Source: AWS Sign-In API Reference; botocore's model of `signin`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, assert_never
from urllib.parse import urlencode

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.oauth.client import AWS_TOOLS
from daypass.operations.assume.forms import AwsCredentials
from daypass.operations.assume.request import SessionRequest
from daypass.operations.oauth import aws_sessions, code_grant
from daypass.operations.oauth.aws_sessions import SessionQuery, SignInSession
from daypass.operations.oauth.clients import CONFIRMATION
from daypass.operations.oauth.id_token import authentication_of, id_token
from daypass.operations.oauth.inspect import INACTIVE, introspect_token
from daypass.operations.oauth.refresh import GrantedToken, refresh
from daypass.operations.oauth.request import Sender, TokenRequest, TokenType
from daypass.ports import Call
from daypass.wire.content import json_object_of, pairs_of
from daypass.wire.front import RecordedRefusal
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import INTERNAL
from daypass.wire.oauth.authorize import PATH as AUTHORIZE
from daypass.wire.oauth.client import sender_of
from daypass.wire.oauth.endpoint import EndpointContext, Form, answer, audiences_of, malformed, one, required
from daypass.wire.oauth.errors import JSON, NO_STORE, read_details
from daypass.wire.oauth.token import JWT_BEARER, TOKEN_EXCHANGE, rendered, serve_grant
from daypass.wire.web.context import PageContext
from daypass.wire.web.render import redirect

SERVICE: Final = "signin"
PATH: Final = "/v1/authorize"
TOKEN: Final = "/v1/token"  # a path
_SECONDS: Final = 900  # of the credentials: "Maximum value is 900 seconds"
_TOKENS: Final = 1.0  # that a signed call costs, relative to an STS request
_SHORTEST, _LONGEST = 300, 43_200  # seconds of CreateBearerToken (TokenDuration of the model)
_MAX_RESULTS: Final = 100
_MAX_SESSIONS: Final = 5

Values = Mapping[str, Any]


# --- The browser


async def authorize(ctx: PageContext) -> Response:
    """GET /v1/authorize: the request in the words of RFC 7636, at the authorization endpoint."""
    ctx.anonymous()
    fields = ctx.query()
    if fields.get("client_id", "") not in AWS_TOOLS or fields.get("code_challenge_method") != "SHA-256":
        raise DaypassError(ErrorKind.VALIDATION, "This address is for `aws login`: use /oauth2/authorize.")
    return redirect(f"{AUTHORIZE}?{urlencode({**fields, 'code_challenge_method': 'S256'})}")


async def confirmation(ctx: PageContext) -> Response:
    """GET /v1/sessions/confirmation: what a person types into the tool on the other device."""
    ctx.anonymous()
    fields = ctx.query()
    if "code" not in fields:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "The sign-in was refused.")
    pairs = urlencode({"state": fields.get("state", ""), "code": fields["code"]})
    code = base64.b64encode(pairs.encode("ascii")).decode("ascii")
    return ctx.page("confirmation", title="Finish the sign-in", code=code)


# --- Tokens


async def token(ctx: EndpointContext) -> Response:
    """POST /v1/token: four operations, told apart by the query."""
    query = dict(pairs_of(ctx.request.raw_query, 16, strict=True))
    if query.get("x-amz-oauth-token-method") == "token-exchange":
        return await _token_exchange(ctx)
    if query.get("x-amz-client-auth-method") == "iam" or query.get("x-amz-token-request-type") == "bearer":
        return await _client_credentials(ctx)
    return await _create_token(ctx)


async def _create_token(ctx: EndpointContext) -> Response:
    call, form = ctx.anonymous(), _form(ctx, _CREATE_TOKEN)
    if one(form, "client_id") not in AWS_TOOLS:
        raise DaypassError(ErrorKind.INVALID_CLIENT, "clientId must be the client of an AWS tool.")
    grant = one(form, "grant_type")
    ctx.detail["grant_type"] = grant[:64]
    if grant not in ("authorization_code", "refresh_token"):
        raise DaypassError(ErrorKind.UNSUPPORTED_GRANT_TYPE, "The grants are authorization_code and refresh_token.")
    sender = await sender_of(ctx, form, nonce=False)
    more: dict[str, Any] = {}
    if grant == "refresh_token":
        granted = await refresh(ctx.env, call, required(form, "refresh_token"), _credentials_for(sender))
    else:
        redeemed = await _redeemed(ctx, call, form, sender)
        granted, person = redeemed.granted, redeemed.person
        client = sender.known_client
        more["idToken"] = await id_token(ctx.env, client, ("openid",), person.session, authentication_of(person))
    return answer({**_granted(ctx, granted), **more})


async def _redeemed(ctx: EndpointContext, call: Call, form: Form, sender: Sender) -> code_grant.Redeemed:
    code = await code_grant.find(ctx.env, call, sender, required(form, "code"))
    authorized = code.content.request
    if authorized.role or authorized.details:
        raise DaypassError(ErrorKind.VALIDATION, "The sign-in of an AWS tool has no role: assume it with the result.")
    request = replace(_credentials_for(sender), openid=authorized.openid_scopes)
    verifier = required(form, "code_verifier")
    return await code_grant.redeem(ctx.env, call, code, request, one(form, "redirect_uri"), verifier)


def _credentials_for(sender: Sender) -> TokenRequest:
    return TokenRequest(SessionRequest("", duration=_SECONDS), requested=TokenType.AWS_CREDENTIALS, sender=sender)


def _granted(ctx: EndpointContext, granted: GrantedToken) -> dict[str, Any]:
    issued = granted.issued
    credentials, session = issued.credential, issued.session
    assert isinstance(credentials, AwsCredentials)
    return {
        "accessToken": {
            "accessKeyId": credentials.access_key_id,
            "secretAccessKey": credentials.secret,
            "sessionToken": credentials.token,
        },
        "tokenType": "aws_sigv4",
        "expiresIn": max(1, (session.expires_at - ctx.env.clock.now()) // 1000),
        "refreshToken": granted.refresh_token,
    }


async def _token_exchange(ctx: EndpointContext) -> Response:
    """CreateOAuth2TokenWithTokenExchange."""
    call, form = ctx.anonymous(), _form(ctx, {})
    name = one(form, "grant_type")
    if name not in (TOKEN_EXCHANGE, JWT_BEARER):
        raise DaypassError(ErrorKind.UNSUPPORTED_GRANT_TYPE, f"The grants are {TOKEN_EXCHANGE} and {JWT_BEARER}.")
    if "scope" in form:
        raise DaypassError(ErrorKind.INVALID_SCOPE, "Session policies are not supported here: use sts:AssumeRole.")
    return await serve_grant(ctx, call, form, name)


async def _client_credentials(ctx: EndpointContext) -> Response:
    """CreateOAuth2TokenWithIAM and CreateBearerToken: an access token of the caller for one resource."""
    call, values = await _signed(ctx), dict(json_object_of(ctx.request.body))
    duration = _number(values, "duration", 0) if "duration" in values else None
    values.pop("duration", None)
    if duration is not None and not _SHORTEST <= duration <= _LONGEST:
        raise malformed(f"duration is {_SHORTEST} to {_LONGEST} seconds.")
    form = _form(ctx, {}, values)
    required(form, "resource")
    if one(form, "grant_type") != "client_credentials":
        raise DaypassError(ErrorKind.UNSUPPORTED_GRANT_TYPE, "The grant is client_credentials.")
    request = TokenRequest(SessionRequest("", duration=duration), audiences=audiences_of(form))
    issued = await aws_sessions.issue_for_resource(ctx.env, call, request)
    return answer(rendered(ctx, issued, _NO_DETAILS))


# --- Signed operations


async def introspect(ctx: EndpointContext) -> Response:
    """POST /v1/introspect: IntrospectOAuth2TokenWithIAM. It is about access tokens."""
    call, form = await _signed(ctx), _form(ctx, {})
    await aws_sessions.check_introspection(ctx.env, call)
    try:
        content = await introspect_token(ctx.env, call, required(form, "token"))
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED:
            raise
        await ctx.record(error)
        content = INACTIVE
    if not content["active"]:
        return answer(content)
    audience = content.get("aud", "")
    found = {name: content[name] for name in ("client_id", "exp", "iat", "iss", "jti", "sub") if name in content}
    aud = audience if isinstance(audience, str) else " ".join(audience)
    return answer({"active": True, "token_type": "access_token", "aud": aud, **found})


async def revoke(ctx: EndpointContext) -> Response:
    """POST /v1/revoke: RevokeOAuth2TokenWithIAM."""
    call, form = await _signed(ctx), _form(ctx, {})
    await aws_sessions.revoke_refresh_token(ctx.env, call, required(form, "token"))
    return answer({})


async def list_sessions(ctx: EndpointContext) -> Response:
    """POST /list-sessions."""
    call, values = await _signed(ctx), json_object_of(ctx.request.body)
    status = _text(values, "status")
    query = SessionQuery(
        _text(values, "principalArn"),
        _text(values, "nextToken"),
        min(max(_number(values, "maxResults", _MAX_RESULTS), 1), _MAX_RESULTS),
        None if not status else status == "ACTIVE",
        _text(values, "clientId"),
        _number(values, "issuedAfter", 0) * 1000,
        _number(values, "issuedBefore", 2**51) * 1000,
    )
    found, following = await aws_sessions.list_sessions(ctx.env, call, query)
    return answer({"items": [_session(each) for each in found], **({"nextToken": following} if following else {})})


async def get_session(ctx: EndpointContext) -> Response:
    """POST /get-session."""
    call, values = await _signed(ctx), json_object_of(ctx.request.body)
    found = await aws_sessions.get_session(ctx.env, call, _text(values, "principalArn"), _text(values, "sessionArn"))
    return answer({**_session(found), "lastUsedAt": found.family.rotated_at // 1000})


async def revoke_sessions(ctx: EndpointContext) -> Response:
    """POST /batch-revoke-sessions."""
    call, values = await _signed(ctx), json_object_of(ctx.request.body)
    arns = values.get("sessionArns")
    if not isinstance(arns, list) or not 1 <= len(arns) <= _MAX_SESSIONS or not all(isinstance(a, str) for a in arns):
        raise malformed(f"sessionArns has one to {_MAX_SESSIONS} ARNs.")
    principal, reason = _text(values, "principalArn"), _text(values, "reason")
    revoked, unknown = await aws_sessions.revoke_sessions(ctx.env, call, principal, arns, reason[:256])
    errors = [
        {"sessionArn": arn, "code": "ResourceNotFoundException", "message": "There is no such session."}
        for arn in unknown
    ]
    return answer({"revokedSessions": [{"sessionArn": arn} for arn in revoked], "errors": errors})


def _session(found: SignInSession) -> dict[str, Any]:
    family = found.family
    return {
        "sessionArn": found.arn,
        "principalArn": found.principal_arn,
        "status": "ACTIVE" if found.active else "REVOKED",
        "issuedAt": family.created_at // 1000,
        "expiresAt": family.expires_at // 1000,
        "clientId": family.client_id,
        "clientType": "CLI",
    }


# --- Requests and refusals

_CREATE_TOKEN: Final[Mapping[str, str]] = {
    "clientId": "client_id",
    "grantType": "grant_type",
    "redirectUri": "redirect_uri",
    "codeVerifier": "code_verifier",
    "refreshToken": "refresh_token",
}
"""The members of CreateOAuth2Token by OAuth's names. Those of the other operations have these names already."""
_NO_DETAILS: Final = read_details("", "")


async def _signed(ctx: EndpointContext) -> Call:
    return await ctx.front.authenticated(ctx.progress, (SERVICE,), _TOKENS)


def _form(ctx: EndpointContext, names: Mapping[str, str], body: Values | None = None) -> Form:
    members = json_object_of(ctx.request.body) if body is None else body
    values = {names.get(name, name): value for name, value in members.items() if value not in ("", None)}
    ctx.detail["parameters"] = sorted(name[:64] for name in values)[:64]
    return {name: (_text(values, name),) for name in values}


def _text(values: Values, name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise malformed(f"{name[:64]} must be a string.")
    return value


def _number(values: Values, name: str, default: int) -> int:
    value = values.get(name, default)
    if type(value) is not int:
        raise malformed(f"{name} must be an integer.")
    return value


_KINDS: Final[Mapping[ErrorKind, tuple[str, str, int]]] = {
    ErrorKind.INVALID_GRANT: ("AccessDeniedException", "TOKEN_EXPIRED", 403),
    ErrorKind.INVALID_CLIENT: ("ValidationException", "invalid_client", 400),
    ErrorKind.INVALID_DPOP_PROOF: ("ValidationException", "invalid_request", 400),
    ErrorKind.INVALID_SCOPE: ("InvalidScopeException", "invalid_scope", 400),
    ErrorKind.UNSUPPORTED_GRANT_TYPE: ("ValidationException", "unsupported_grant_type", 400),
    ErrorKind.INVALID_TARGET: ("ValidationException", "invalid_target", 400),
}


def _refused(kind: ErrorKind) -> tuple[str, str, int]:
    """The exception of the model, its `error`, and the status."""
    if kind in _KINDS:
        return _KINDS[kind]
    match kind.family:
        case Family.DENIED | Family.CREDENTIALS | Family.PROOF:
            return "AccessDeniedException", "INSUFFICIENT_PERMISSIONS", 403
        case Family.ABSENT:
            return "ResourceNotFoundException", "RESOURCE_NOT_FOUND", 404
        case Family.THROTTLED:
            return "TooManyRequestsError", "rate_exceeded", 429
        case Family.UNAVAILABLE | Family.UPSTREAM:
            return "ServiceUnavailableException", "service_unavailable", 503
        case Family.CONFLICT:
            return "ConflictException", "CONFLICT", 409
        case Family.REQUEST | Family.CONTENT:
            return "ValidationException", "invalid_request", 400
        case _:
            assert_never(kind.family)


class SignInErrors:
    """`front.ErrorFormat` of AWS Sign-In."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        """See `front.ErrorFormat`. A code and a refresh token fail alike; tools tell them apart by `error`."""
        code, error, status = _refused(refusal.error.kind)
        if error == "TOKEN_EXPIRED" and b"authorization_code" in request.body:
            error = "AUTHCODE_EXPIRED"
        return self._response(status, code, error, refusal.error.public, refusal.operation)

    def broken(self, request: Request) -> Response:
        """See `front.ErrorFormat`."""
        del request
        return self._response(500, "InternalServerException", "server_error", INTERNAL)

    def _response(self, status: int, code: str, error: str, message: str, operation: str = "") -> Response:
        body = json.dumps({"error": error, "message": message}).encode("ascii")
        headers = (*NO_STORE, (b"x-amzn-errortype", code.encode("ascii")))
        return Response(status, body, JSON, headers, operation, code)


class SignInRoute(NamedTuple):
    """A path with its operation."""

    path: str
    operation: str
    serve: Callable[[EndpointContext], Awaitable[Response]]
    summary: str


ROWS: Final = (
    SignInRoute(TOKEN, "signin:CreateOAuth2Token", token, "Tokens of AWS Sign-In"),
    SignInRoute(
        "/v1/introspect", "signin:IntrospectOAuth2TokenWithIAM", introspect, "Introspects an access token for AWS SDKs"
    ),
    SignInRoute(
        "/v1/revoke", "signin:RevokeOAuth2TokenWithIAM", revoke, "Ends the session of a refresh token, for AWS SDKs"
    ),
    SignInRoute("/list-sessions", "signin:ListSessions", list_sessions, "Sessions of `aws login`"),
    SignInRoute("/get-session", "signin:GetSession", get_session, "One session of `aws login`"),
    SignInRoute(
        "/batch-revoke-sessions", "signin:BatchRevokeSessions", revoke_sessions, "Ends sessions of `aws login`"
    ),
)
PAGES: Final = (
    (PATH, authorize, "Begins `aws login`"),
    (CONFIRMATION, confirmation, "Shows the code of `aws login --remote`"),
)
