"""ErrorKind to the AWS wire: code, status and the error's XML. It decides nothing else, and shows nothing but `public`.

Source: IAM and STS API references, "Common Errors" and the error shapes of the service models.
"""

from __future__ import annotations

from typing import assert_never

from daypass.domain.errors import ErrorKind as Kind
from daypass.wire.aws.xml import escape

INTERNAL_CODE = "InternalFailure"
_INTERNAL = "The request processing has failed because of an unknown error, exception or failure."


def wire_error(kind: Kind) -> tuple[str, int]:  # noqa: C901, PLR0912  # a table; `match` lets mypy prove that it is whole
    """Code and HTTP status. STS and IAM agree wherever both have the error."""
    match kind:
        case Kind.UNKNOWN_OPERATION:
            return "InvalidAction", 400
        case Kind.MISSING_ACTION:
            return "MissingAction", 400
        case Kind.UNSUPPORTED_OPERATION:
            return "UnsupportedOperation", 400
        case Kind.MALFORMED_REQUEST:
            return "MalformedInput", 400
        case Kind.REQUEST_TOO_LARGE:
            return "RequestEntityTooLarge", 413
        case Kind.MISSING_PARAMETER:
            return "MissingParameter", 400
        case Kind.INVALID_PARAMETER:
            return "InvalidParameterValue", 400
        case Kind.VALIDATION:
            return "ValidationError", 400
        case Kind.INVALID_INPUT:
            return "InvalidInput", 400
        case Kind.MALFORMED_POLICY:
            return "MalformedPolicyDocument", 400
        case Kind.PACKED_POLICY_TOO_LARGE:
            return "PackedPolicyTooLarge", 400
        case Kind.INVALID_AUTHORIZATION_MESSAGE:
            return "InvalidAuthorizationMessageException", 400
        case Kind.INSUFFICIENT_SESSION_LIFETIME:
            return "InsufficientSessionLifetime", 400
        case Kind.INVALID_SUBJECT_CREDENTIALS:
            return "InvalidSubjectCredentials", 400
        case Kind.PASSWORD_POLICY:
            return "PasswordPolicyViolation", 400
        case Kind.INVALID_USER_TYPE:
            return "InvalidUserType", 400
        case Kind.MISSING_CREDENTIALS:
            return "MissingAuthenticationToken", 403
        case Kind.INCOMPLETE_SIGNATURE:
            return "IncompleteSignature", 400
        case Kind.SIGNATURE_MISMATCH:
            return "SignatureDoesNotMatch", 403
        case Kind.UNKNOWN_CREDENTIALS:
            return "InvalidClientTokenId", 403
        case Kind.EXPIRED_CREDENTIALS:
            return "ExpiredToken", 403
        case Kind.INVALID_IDENTITY_TOKEN:
            return "InvalidIdentityToken", 400
        case Kind.EXPIRED_IDENTITY_TOKEN:
            return "ExpiredTokenException", 400
        case Kind.IDP_REJECTED_CLAIM:
            return "IDPRejectedClaim", 403
        case Kind.IDP_COMMUNICATION:
            return "IDPCommunicationError", 400
        case Kind.ACCESS_DENIED:
            return "AccessDenied", 403
        case Kind.NOT_FOUND:
            return "NoSuchEntity", 404
        case Kind.ALREADY_EXISTS:
            return "EntityAlreadyExists", 409
        case Kind.DELETE_CONFLICT:
            return "DeleteConflict", 409
        case Kind.LIMIT_EXCEEDED:
            return "LimitExceeded", 409
        case Kind.UNMODIFIABLE:
            return "UnmodifiableEntity", 400
        case Kind.CONCURRENT_MODIFICATION:
            return "ConcurrentModification", 409
        case Kind.POLICY_NOT_ATTACHABLE:
            return "PolicyNotAttachable", 400
        case Kind.INVALID_AUTHENTICATION_CODE:
            return "InvalidAuthenticationCode", 403
        case Kind.REPORT_NOT_PRESENT:
            return "ReportNotPresent", 410
        case Kind.REPORT_EXPIRED:
            return "ReportExpired", 410
        case Kind.FEATURE_ENABLED:
            return "FeatureEnabled", 409
        case Kind.FEATURE_DISABLED:
            return "FeatureDisabled", 404
        case Kind.POLICY_EVALUATION:
            return "PolicyEvaluation", 500
        case Kind.THROTTLED:
            return "Throttling", 400
        case Kind.UNAVAILABLE:
            return "ServiceUnavailable", 503
        case _:
            assert_never(kind)


def error_xml(namespace: str, code: str, status: int, message: str, request_id: str, encoded: str = "") -> bytes:
    """The error as the query protocol writes it. `encoded` is the encoded authorization message, if there is one."""
    fault = "Sender" if status < 500 else "Receiver"
    more = f"<EncodedAuthorizationMessage>{escape(encoded)}</EncodedAuthorizationMessage>" if encoded else ""
    told = f"<Message>{escape(message)}</Message>" if message else ""
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{code}</Code>'
        f"{told}{more}</Error><RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
    ).encode()


def internal_failure_xml(namespace: str, request_id: str) -> bytes:
    """The constant answer to whatever nobody expected."""
    return error_xml(namespace, INTERNAL_CODE, 500, _INTERNAL, request_id)
