"""ErrorKind to the pages of a login by browser: code and status. It decides nothing else, and shows nothing but `public`."""

from __future__ import annotations

from typing import assert_never

from daypass.domain.errors import ErrorKind as Kind


def wire_error(kind: Kind) -> tuple[str, int]:  # noqa: C901  # a table; `match` lets mypy prove that it is whole
    """Code and HTTP status. What a login cannot end with is one case; a new kind must be put somewhere."""
    match kind:
        case Kind.INVALID_IDENTITY_TOKEN:
            return "InvalidIdentityToken", 400
        case Kind.EXPIRED_IDENTITY_TOKEN:
            return "ExpiredToken", 400
        case Kind.IDP_REJECTED_CLAIM:
            return "IDPRejectedClaim", 403
        case Kind.ACCESS_DENIED:
            return "AccessDenied", 403
        case Kind.VALIDATION | Kind.INVALID_PARAMETER | Kind.MISSING_PARAMETER | Kind.MALFORMED_REQUEST:
            return "ValidationError", 400
        case Kind.PACKED_POLICY_TOO_LARGE:
            return "PackedPolicyTooLarge", 400
        case Kind.REQUEST_TOO_LARGE:
            return "RequestEntityTooLarge", 413
        case Kind.NOT_FOUND | Kind.UNKNOWN_OPERATION:
            return "NotFound", 404
        case Kind.THROTTLED:
            return "Throttling", 429
        case Kind.UNAVAILABLE:
            return "ServiceUnavailable", 503
        case (
            Kind.MISSING_ACTION
            | Kind.UNSUPPORTED_OPERATION
            | Kind.INVALID_INPUT
            | Kind.MALFORMED_POLICY
            | Kind.INVALID_AUTHORIZATION_MESSAGE
            | Kind.INSUFFICIENT_SESSION_LIFETIME
            | Kind.INVALID_SUBJECT_CREDENTIALS
            | Kind.PASSWORD_POLICY
            | Kind.MISSING_CREDENTIALS
            | Kind.INCOMPLETE_SIGNATURE
            | Kind.SIGNATURE_MISMATCH
            | Kind.UNKNOWN_CREDENTIALS
            | Kind.EXPIRED_CREDENTIALS
            | Kind.IDP_COMMUNICATION
            | Kind.INVALID_USER_TYPE
            | Kind.ALREADY_EXISTS
            | Kind.DELETE_CONFLICT
            | Kind.LIMIT_EXCEEDED
            | Kind.UNMODIFIABLE
            | Kind.CONCURRENT_MODIFICATION
            | Kind.POLICY_NOT_ATTACHABLE
            | Kind.INVALID_AUTHENTICATION_CODE
            | Kind.REPORT_NOT_PRESENT
            | Kind.REPORT_EXPIRED
            | Kind.FEATURE_ENABLED
            | Kind.FEATURE_DISABLED
            | Kind.POLICY_EVALUATION
        ):  # what a login cannot end with
            return "InvalidRequest", 400
        case _:
            assert_never(kind)
