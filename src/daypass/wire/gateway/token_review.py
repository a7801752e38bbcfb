"""`/kubernetes/token-review`: TokenReview v1, by which the API server of a cluster asks whose access token it was sent.

The cluster is a resource server whose identifier is among the API server's audiences. The answer is as old as the request;
how long it is kept is the API server's setting. Nothing but a token tells who asks, and nothing is told about other tokens.
Sources: Kubernetes, Webhook Token Authentication; authentication.k8s.io/v1.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from daypass.domain.claims import Caller
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.access.requestable import check_cluster
from daypass.operations.oauth.targets import registered
from daypass.wire.access_token import UNPROVEN, Service, by_access_token
from daypass.wire.front import Front, Progress, Refusal
from daypass.wire.http import Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, MEDIA_TYPE, error_json, wire_error
from daypass.wire.routing import POST, Route

_OPERATION: Final = "daypass:ReviewToken"
_PATH: Final = "/kubernetes/token-review"
_VERSION: Final = "authentication.k8s.io/v1"
_TOKENS: Final = 0.1  # relative to an STS request
_MOST_AUDIENCES: Final = 10
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")


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
        progress = Progress(request, _OPERATION)
        try:
            status = await _reviewed(front, progress, _spec_of(request.body))
        except DaypassError as error:
            return await front.refuse(progress, error, ERRORS)
        return _answer(status)

    return Route(_PATH, handler, "Whose access token it is (Kubernetes TokenReview)", POST, ERRORS, _OPERATION)


def _spec_of(body: bytes) -> _Spec:
    try:
        review = _read.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The body must be a TokenReview.") from None
    if (review.apiVersion, review.kind) != (_VERSION, "TokenReview") or len(review.spec.audiences) > _MOST_AUDIENCES:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"The body must be a TokenReview of {_VERSION}.")
    return review.spec


async def _reviewed(front: Front, progress: Progress, spec: _Spec) -> dict[str, Any]:
    """The status of a token. Raises DaypassError: it is valid and may not be used, or nothing is known now."""
    for audience in spec.audiences:
        server = await registered(front.env, audience)
        if server is not None:
            break
    else:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "No audience of the API server is a resource server.")
    try:
        call = await by_access_token(front, progress, _TOKENS, in_form=spec.token, service=Service(audience))
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
    return Response(200, msgspec.json.encode(review), MEDIA_TYPE, (_NO_STORE,), _OPERATION, code)


class _Errors:
    """`front.ErrorFormat`: a token that is refused is an answer, and everything else is an error, which is asked again."""

    def refused(self, request: Request, refusal: Refusal) -> Response:
        kind = refusal.error.kind
        code, status = wire_error(kind)
        if kind.family is Family.DENIED:
            return _answer({"authenticated": False, "error": refusal.error.public}, code)
        body = error_json(code, refusal.error.public, request.request_id)
        return Response(status, body, MEDIA_TYPE, (_NO_STORE,), refusal.operation, code)

    def broken(self, request: Request) -> Response:
        body = error_json(INTERNAL_CODE, INTERNAL, request.request_id)
        return Response(500, body, MEDIA_TYPE, (_NO_STORE,), code=INTERNAL_CODE)


ERRORS: Final = _Errors()
