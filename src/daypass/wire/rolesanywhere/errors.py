"""ErrorKind to the wire of IAM Roles Anywhere: code, status and the error's JSON. It shows nothing but `public`.

Source: IAM Roles Anywhere API Reference, "Common Error Types", and the error shapes of the service model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, assert_never

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import INTERNAL

INTERNAL_CODE = "InternalServerException"


_EXCEPTIONS: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.UNKNOWN_OPERATION: ("UnknownOperationException", 404),
    Kind.MISSING_ACTION: ("UnknownOperationException", 404),
    Kind.UNSUPPORTED_OPERATION: ("UnknownOperationException", 400),
    Kind.REQUEST_TOO_LARGE: ("RequestEntityTooLargeException", 413),
    Kind.HEADERS_TOO_LARGE: ("RequestHeaderSectionTooLargeException", 431),
    Kind.MISSING_CREDENTIALS: ("MissingAuthenticationTokenException", 403),
    Kind.INCOMPLETE_SIGNATURE: ("IncompleteSignatureException", 403),
    Kind.SIGNATURE_MISMATCH: ("InvalidSignatureException", 403),
    Kind.EXPIRED_CREDENTIALS: ("ExpiredTokenException", 403),
    Kind.EXPIRED_IDENTITY_TOKEN: ("ExpiredTokenException", 403),
    Kind.NOT_FOUND: ("ResourceNotFoundException", 404),
    Kind.LIMIT_EXCEEDED: ("TooManyTagsException", 400),
    Kind.POLICY_EVALUATION: (INTERNAL_CODE, 500),
}


def wire_error(kind: Kind) -> tuple[str, int]:
    """Code and HTTP status. A kind without an error of the service becomes a ValidationException, as AWS does."""
    return _EXCEPTIONS.get(kind) or _of_family(kind.family)


def _of_family(family: Family) -> tuple[str, int]:
    match family:
        case Family.REQUEST | Family.CONTENT | Family.ABSENT | Family.CONFLICT:
            return "ValidationException", 400
        case Family.CREDENTIALS:
            return "UnrecognizedClientException", 403
        case Family.DENIED | Family.PROOF | Family.UPSTREAM:
            return "AccessDeniedException", 403
        case Family.THROTTLED:
            return "ThrottlingException", 429
        case Family.UNAVAILABLE:
            return "ServiceUnavailableException", 503
        case _:
            assert_never(family)


def json_response(status: int, body: object, operation: str, code: str = "") -> Response:
    """A JSON response; `code` is the error code, which the protocol puts in a header."""
    headers = ((b"x-amzn-errortype", code.encode("ascii")),) if code else ()
    return Response(status, json.dumps(body).encode("ascii"), b"application/json", headers, operation, code)


class RolesAnywhereErrors:
    """`front.ErrorFormat`."""

    def refused(self, request: Request, refusal: Refusal) -> Response:  # noqa: ARG002  # the answer does not depend on it
        code, status = wire_error(refusal.error.kind)
        body = {"message": refusal.error.public}
        if refusal.encoded:
            body["encodedAuthorizationMessage"] = refusal.encoded
        return json_response(status, body, refusal.operation, code)

    def broken(self, request: Request) -> Response:  # noqa: ARG002  # it is constant
        return json_response(500, {"message": INTERNAL}, "", INTERNAL_CODE)


ERRORS: Final[ErrorFormat] = RolesAnywhereErrors()
