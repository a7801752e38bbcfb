"""`/gateway/auth`, for forward authentication, and `/gateway/ext_authz/`, for Envoy's external authorization over HTTP;
`/kubernetes/token-review`, for Kubernetes API servers.

The answer is 200 with the sender's identity in headers, 401, 403, or 503 when it is not known. Nothing may store it: a
decision is as old as the request, so a revocation counts with the next one.
Sources: nginx, ngx_http_auth_request_module; Envoy, extensions.filters.http.ext_authz.v3.HttpService.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec.structs import replace

from daypass.domain.claims import Caller
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.access.requestable import ACTION, check_cluster, check_request, meaning, protected
from daypass.operations.oauth.targets import registered
from daypass.ports import Call
from daypass.wire.access_token import (
    SCHEMES,
    UNPROVEN,
    TokenAudience,
    authorization_of,
    by_access_token,
    challenge,
    with_nonce,
)
from daypass.wire.front import Front, RecordedRefusal, RequestProgress, read_signature
from daypass.wire.http import FixedHeaders, Header, Request, Response
from daypass.wire.json_errors import MEDIA_TYPE, JsonErrors, error_json, wire_error
from daypass.wire.routing import POST, Route

_OPERATION: Final = f"daypass:{ACTION}"
_TOKENS: Final = 0.1  # relative to an STS request
_SHOWN: Final = (
    b"x-daypass-subject",
    b"x-daypass-arn",
    b"x-daypass-account",
    b"x-daypass-session",
    b"x-daypass-source-identity",
    b"x-daypass-scope",
)
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_LATER: Final = frozenset({Family.THROTTLED, Family.UNAVAILABLE, Family.UPSTREAM})


def gateway_routes(front: Front, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. `certificate_header`: see `RouteSettings`."""
    handler = partial(_decide, front, certificate_header.lower())
    return (
        Route(AUTH, handler, "Whether a proxy may pass a request on", frozenset(), ERRORS, _OPERATION),
        Route(EXT_AUTHZ, handler, "The same for Envoy", frozenset(), ERRORS, _OPERATION),
    )


async def _decide(front: Front, certificate_header: str, request: Request) -> Response:
    progress = RequestProgress(request, _OPERATION)
    try:
        asked = original_of(request)
        progress.request = asked.request
        target = await protected(front.env, asked.audience)
        wanted = meaning(target, asked.request.method, asked.request.raw_path, asked.request.raw_query)
        if authorization_of(asked.request)[0] in SCHEMES:
            service = TokenAudience(target.server.identifier, target.origin)
            call = await by_access_token(front, progress, _TOKENS, certificate_header, service=service, consuming=True)
        else:
            call = await _signed(front, progress, wanted.service, target.origin)
        await check_request(front.env, call, target, wanted, progress.replays)
    except DaypassError as error:
        response = await front.refuse(progress, error, ERRORS)
        response = replace(response, hold=0)  # the connection is the proxy's, and serves other senders
    else:
        response = Response(200, b"", MEDIA_TYPE, _identity_of(call.caller), _OPERATION)
    return with_nonce(front.env, progress, response)


async def _signed(front: Front, progress: RequestProgress, service: str, origin: str) -> Call:
    """The call of a request that is signed for the service of its action, and for the host of the resource server.

    Without these, somebody who has a request for another service could present it here.
    """
    host = origin.partition("://")[2].encode("ascii")
    headers = [(name, value if name != b"host" else host) for name, value in progress.request.headers]
    signed = replace(progress.request, headers=headers)
    return await front.authenticated(progress, (service,), _TOKENS, lambda _: read_signature(signed, bodiless=True))


def _identity_of(caller: Caller) -> FixedHeaders:
    session = caller.session
    if session is None:
        return _identity(caller.user_id, caller.arn, caller.account, "", "", "")
    scope = " ".join(session.scopes or ())
    return _identity(caller.user_id, caller.arn, caller.account, session.session_id, session.source_identity, scope)


@lru_cache(maxsize=1024)  # a sender asks again and again
def _identity(*values: str) -> FixedHeaders:
    encoded = [value.encode("ascii", "backslashreplace") for value in values]
    return FixedHeaders(_NO_STORE, *zip(_SHOWN, encoded, strict=True))


class GatewayErrors(JsonErrors):
    """`front.ErrorFormat`: the three statuses that every proxy understands."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        kind = refusal.error.kind
        headers: tuple[Header, ...] = (_NO_STORE,)
        status = 503 if kind.family in _LATER else 403
        if kind.family in UNPROVEN:
            status, headers = 401, (_NO_STORE, challenge(request, kind))
        code = wire_error(kind)[0]
        body = error_json(code, refusal.error.public, request.request_id, refusal.encoded)
        return Response(status, body, MEDIA_TYPE, headers, refusal.operation, code)


ERRORS: Final = GatewayErrors(headers=(_NO_STORE,))


# --- The request that a proxy asks about


AUTH: Final = "/gateway/auth"
EXT_AUTHZ: Final = "/gateway/ext_authz/"
_METHOD, _URI = b"x-forwarded-method", b"x-forwarded-uri"
_IDENTITY: Final = b"x-daypass-"
_OVERRIDES: Final = frozenset(
    {b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
_OF_CONNECTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b""})


class GatewayRequest(NamedTuple):
    """The resource server that a proxy protects, and the request that it has received, without a body."""

    audience: str
    request: Request


def original_of(request: Request) -> GatewayRequest:
    """The request that the proxy asks about. Raises DaypassError(MALFORMED_REQUEST)."""
    path = request.raw_path.decode("latin-1")
    if path == AUTH:
        audience = _audience_of(request.raw_query)
        method, target = _one(request, _METHOD), _one(request, _URI)
    else:  # Envoy: the audience, percent-encoded, stands before the path, and the rest is as the client sent it
        encoded, slash, rest = path.removeprefix(EXT_AUTHZ).partition("/")
        audience, method = unquote(encoded), request.method.encode("latin-1")
        target = (slash + rest).encode("latin-1") + (b"?" + request.raw_query if request.raw_query else b"")
    raw_path, _, raw_query = target.partition(b"?")
    _refuse_hidden(request)
    return GatewayRequest(
        audience, replace(request, method=method.decode("latin-1"), raw_path=raw_path, raw_query=raw_query, body=b"")
    )


@lru_cache(maxsize=256)  # a proxy sends the same
def _audience_of(raw_query: bytes) -> str:
    try:
        return dict(parse_qsl(raw_query.decode("latin-1"), max_num_fields=4)).get("audience", "")
    except ValueError:
        raise _malformed("The query has too many parameters.") from None


def _one(request: Request, wanted: bytes) -> bytes:
    values = [value for name, value in request.headers if name == wanted]
    if len(values) != 1 or not values[0]:
        raise _malformed(f"The proxy must send the header {wanted.decode('ascii')} once.")
    return values[0]


def _refuse_hidden(request: Request) -> None:
    seen: set[bytes] = set()
    for name, value in request.headers:
        if _is_hidden(name):
            raise _malformed(f"The header {name.decode('ascii')} is not allowed.")
        if name == b"connection" and not {one.strip().lower() for one in value.split(b",")} <= _OF_CONNECTIONS:
            raise _malformed("The header Connection may not name other headers.")
        if name in (b"authorization", b"dpop"):
            if name in seen:
                raise _malformed(f"The header {name.decode('ascii')} may be sent once.")
            seen.add(name)


@lru_cache(maxsize=512)
def _is_hidden(name: bytes) -> bool:
    return name in _OVERRIDES or name.replace(b"_", b"-").startswith(_IDENTITY)


def _malformed(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_REQUEST, message)


# --- Token review: a Kubernetes API server asks whose token it was given (authentication.k8s.io/v1)


_REVIEW: Final = "daypass:ReviewToken"
_PATH: Final = "/kubernetes/token-review"
_VERSION: Final = "authentication.k8s.io/v1"
_MOST_AUDIENCES: Final = 10


class _Spec(msgspec.Struct):
    token: str
    audiences: list[str] = []


class _Review(msgspec.Struct):
    apiVersion: str  # noqa: N815  # Kubernetes's name
    kind: str
    spec: _Spec


_read: Final = msgspec.json.Decoder(_Review)


def token_review_route(front: Front) -> Route:
    """The path with its handler."""

    async def handler(request: Request) -> Response:
        progress = RequestProgress(request, _REVIEW)
        try:
            status = await _reviewed(front, progress, _spec_of(request.body))
        except DaypassError as error:
            return await front.refuse(progress, error, REVIEW_ERRORS)
        return _answer(status)

    return Route(_PATH, handler, "Whose access token it is (Kubernetes TokenReview)", POST, REVIEW_ERRORS, _REVIEW)


def _spec_of(body: bytes) -> _Spec:
    try:
        review = _read.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The body must be a TokenReview.") from None
    if (review.apiVersion, review.kind) != (_VERSION, "TokenReview") or len(review.spec.audiences) > _MOST_AUDIENCES:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"The body must be a TokenReview of {_VERSION}.")
    return review.spec


async def _reviewed(front: Front, progress: RequestProgress, spec: _Spec) -> dict[str, Any]:
    """The status of a token. Raises DaypassError: it is valid and may not be used, or nothing is known now."""
    for audience in spec.audiences:
        server = await registered(front.env, audience)
        if server is not None:
            break
    else:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "No audience of the API server is a resource server.")
    try:
        call = await by_access_token(front, progress, _TOKENS, in_form=spec.token, service=TokenAudience(audience))
    except DaypassError as error:
        if error.kind.family not in UNPROVEN:
            raise
        # Recorded, but not charged to the source: that is the API server, and others would be refused with it.
        await front.record(progress, error)
        return {"authenticated": False, "error": error.public}
    await check_cluster(front.env, call, server)
    return {"authenticated": True, "audiences": [audience], "user": _user(call.caller)}


def _user(caller: Caller) -> dict[str, Any]:
    """The role is a group, so that a RoleBinding names it; the name of a person tells sessions of one role apart."""
    session = caller.session
    assert session is not None  # an access token is of a session
    extra = {"daypass.dev/session-id": [session.session_id], "daypass.dev/account": [caller.account]}
    if session.source_identity:
        extra["daypass.dev/source-identity"] = [session.source_identity]
    groups = [session.arn, f"daypass:account:{caller.account}"]
    return {"username": caller.arn, "uid": caller.user_id, "groups": groups, "extra": extra}


def _answer(status: dict[str, Any], code: str = "") -> Response:
    review = {"apiVersion": _VERSION, "kind": "TokenReview", "status": status}
    return Response(200, msgspec.json.encode(review), MEDIA_TYPE, (_NO_STORE,), _REVIEW, code)


class _Errors(JsonErrors):
    """`front.ErrorFormat`: a token that is refused is an answer, and everything else is an error, which is asked again."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        kind = refusal.error.kind
        if kind.family is Family.DENIED:
            return _answer({"authenticated": False, "error": refusal.error.public}, wire_error(kind)[0])
        return super().refused(request, refusal._replace(encoded=""))


REVIEW_ERRORS: Final = _Errors(headers=(_NO_STORE,))
