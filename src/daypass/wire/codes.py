"""AWS's error codes, which the AWS wire and the management API share, so that clients need one table.

A family gives code and status; a kind that has a code of its own has a row in the table.
Source: IAM and STS API references, "Common Errors" and the error shapes of the service models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family

_EXCEPTIONS: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.UNKNOWN_OPERATION: ("InvalidAction", 400),
    Kind.MISSING_ACTION: ("MissingAction", 400),
    Kind.UNSUPPORTED_OPERATION: ("UnsupportedOperation", 400),
    Kind.MALFORMED_REQUEST: ("MalformedInput", 400),
    Kind.REQUEST_TOO_LARGE: ("RequestEntityTooLarge", 413),
    Kind.HEADERS_TOO_LARGE: ("RequestHeaderSectionTooLarge", 431),
    Kind.MISSING_PARAMETER: ("MissingParameter", 400),
    Kind.INVALID_PARAMETER: ("InvalidParameterValue", 400),
    Kind.INVALID_INPUT: ("InvalidInput", 400),
    Kind.MALFORMED_POLICY: ("MalformedPolicyDocument", 400),
    Kind.PACKED_POLICY_TOO_LARGE: ("PackedPolicyTooLarge", 400),
    Kind.INVALID_AUTHORIZATION_MESSAGE: ("InvalidAuthorizationMessageException", 400),
    Kind.INSUFFICIENT_SESSION_LIFETIME: ("InsufficientSessionLifetime", 400),
    Kind.INVALID_SUBJECT_CREDENTIALS: ("InvalidSubjectCredentials", 400),
    Kind.SESSION_DURATION_ESCALATION: ("SessionDurationEscalationException", 403),
    Kind.OUTBOUND_FEDERATION_DISABLED: ("OutboundWebIdentityFederationDisabledException", 403),
    Kind.JWT_PAYLOAD_SIZE: ("JWTPayloadSizeExceededException", 400),
    Kind.PASSWORD_POLICY: ("PasswordPolicyViolation", 400),
    Kind.INVALID_USER_TYPE: ("InvalidUserType", 400),
    Kind.UNMODIFIABLE: ("UnmodifiableEntity", 400),
    Kind.POLICY_NOT_ATTACHABLE: ("PolicyNotAttachable", 400),
    Kind.INVALID_AUTHENTICATION_CODE: ("InvalidAuthenticationCode", 403),
    Kind.POLICY_EVALUATION: ("PolicyEvaluation", 500),
    Kind.MISSING_CREDENTIALS: ("MissingAuthenticationToken", 403),
    Kind.INCOMPLETE_SIGNATURE: ("IncompleteSignature", 400),
    Kind.SIGNATURE_MISMATCH: ("SignatureDoesNotMatch", 403),
    Kind.EXPIRED_CREDENTIALS: ("ExpiredToken", 403),
    Kind.EXPIRED_IDENTITY_TOKEN: ("ExpiredTokenException", 400),
    Kind.IDP_REJECTED_CLAIM: ("IDPRejectedClaim", 403),
    Kind.REPORT_NOT_PRESENT: ("ReportNotPresent", 410),
    Kind.REPORT_EXPIRED: ("ReportExpired", 410),
    Kind.FEATURE_DISABLED: ("FeatureDisabled", 404),
    Kind.FEATURE_ENABLED: ("FeatureEnabled", 409),
    Kind.ALREADY_EXISTS: ("EntityAlreadyExists", 409),
    Kind.DELETE_CONFLICT: ("DeleteConflict", 409),
    Kind.LIMIT_EXCEEDED: ("LimitExceeded", 409),
    Kind.OVERLOADED: ("SlowDown", 503),
}


def aws_code(kind: Kind) -> tuple[str, int]:
    """Code and HTTP status. STS and IAM agree wherever both have the error."""
    return _EXCEPTIONS.get(kind) or _of_family(kind.family)


def _of_family(family: Family) -> tuple[str, int]:  # noqa: C901  # a table; `match` lets mypy prove that it is complete
    match family:
        case Family.REQUEST:
            return "ValidationError", 400
        case Family.CONTENT:
            return "InvalidInput", 400
        case Family.CREDENTIALS:
            return "InvalidClientTokenId", 403
        case Family.PROOF:
            return "InvalidIdentityToken", 400
        case Family.DENIED:
            return "AccessDenied", 403
        case Family.ABSENT:
            return "NoSuchEntity", 404
        case Family.CONFLICT:
            return "ConcurrentModification", 409
        case Family.UPSTREAM:
            return "IDPCommunicationError", 400
        case Family.THROTTLED:
            return "Throttling", 400
        case Family.UNAVAILABLE:
            return "ServiceUnavailable", 503
        case _:
            assert_never(family)
