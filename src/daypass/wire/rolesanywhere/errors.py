"""ErrorKind to the wire of IAM Roles Anywhere: code, status and the error's JSON. It shows nothing but `public`.

Source: IAM Roles Anywhere API Reference, "Common Error Types", and the error shapes of the service model.
"""

from __future__ import annotations

import json
from typing import assert_never

from daypass.domain.errors import ErrorKind as Kind
from daypass.wire.http import Response

INTERNAL_CODE = "InternalServerException"
_INTERNAL = "The request processing has failed because of an unknown error, exception or failure."


def wire_error(kind: Kind) -> tuple[str, int]:  # noqa: C901, PLR0912  # a table; `match` lets mypy prove that it is whole
    """Code and HTTP status. What the service has no error for is a ValidationException, as AWS does it."""
    match kind:
        case Kind.UNKNOWN_OPERATION | Kind.MISSING_ACTION:
            return "UnknownOperationException", 404
        case Kind.UNSUPPORTED_OPERATION:
            return "UnknownOperationException", 400
        case Kind.MISSING_CREDENTIALS:
            return "MissingAuthenticationTokenException", 403
        case Kind.INCOMPLETE_SIGNATURE:
            return "IncompleteSignatureException", 403
        case Kind.SIGNATURE_MISMATCH:
            return "InvalidSignatureException", 403
        case Kind.UNKNOWN_CREDENTIALS:
            return "UnrecognizedClientException", 403
        case Kind.EXPIRED_CREDENTIALS | Kind.EXPIRED_IDENTITY_TOKEN:
            return "ExpiredTokenException", 403
        case Kind.ACCESS_DENIED | Kind.INVALID_IDENTITY_TOKEN | Kind.IDP_REJECTED_CLAIM | Kind.IDP_COMMUNICATION:
            return "AccessDeniedException", 403
        case Kind.NOT_FOUND:
            return "ResourceNotFoundException", 404
        case Kind.LIMIT_EXCEEDED:
            return "TooManyTagsException", 400
        case Kind.REQUEST_TOO_LARGE:
            return "RequestEntityTooLargeException", 413
        case Kind.THROTTLED:
            return "ThrottlingException", 429
        case Kind.UNAVAILABLE:
            return "ServiceUnavailableException", 503
        case Kind.POLICY_EVALUATION:
            return INTERNAL_CODE, 500
        case (
            Kind.MALFORMED_REQUEST
            | Kind.MISSING_PARAMETER
            | Kind.INVALID_PARAMETER
            | Kind.VALIDATION
            | Kind.INVALID_INPUT
            | Kind.MALFORMED_POLICY
            | Kind.PACKED_POLICY_TOO_LARGE
            | Kind.INVALID_AUTHORIZATION_MESSAGE
            | Kind.INSUFFICIENT_SESSION_LIFETIME
            | Kind.INVALID_SUBJECT_CREDENTIALS
            | Kind.ALREADY_EXISTS
            | Kind.DELETE_CONFLICT
            | Kind.UNMODIFIABLE
            | Kind.CONCURRENT_MODIFICATION
            | Kind.POLICY_NOT_ATTACHABLE
            | Kind.FEATURE_DISABLED
            | Kind.FEATURE_ENABLED
            | Kind.INVALID_AUTHENTICATION_CODE
            | Kind.INVALID_USER_TYPE
            | Kind.PASSWORD_POLICY
            | Kind.REPORT_EXPIRED
            | Kind.REPORT_NOT_PRESENT
        ):
            return "ValidationException", 400
        case _:
            assert_never(kind)


def error_response(kind: Kind, message: str, operation: str, encoded: str = "") -> Response:
    """The answer. `encoded` is the encoded authorization message, if there is one."""
    code, status = wire_error(kind)
    body = {"message": message, **({"encodedAuthorizationMessage": encoded} if encoded else {})}
    return json_response(status, body, operation, code)


def internal_failure(operation: str) -> Response:
    """The constant answer to whatever nobody expected."""
    return json_response(500, {"message": _INTERNAL}, operation, INTERNAL_CODE)


def json_response(status: int, body: object, operation: str, code: str = "") -> Response:
    """An answer in JSON; `code` is the error's, told by a header as the protocol has it."""
    headers = ((b"x-amzn-errortype", code.encode("ascii")),) if code else ()
    return Response(status, json.dumps(body).encode("ascii"), b"application/json", headers, operation, code)
