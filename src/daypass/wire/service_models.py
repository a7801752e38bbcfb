"""The service models of AWS: botocore's data files, read as JSON. Nothing of botocore runs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final, assert_never

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family


def description_of(service: str, version: str) -> dict[str, Any]:
    """A service's model, without its documentation. Raises FileNotFoundError when botocore's data files are missing."""
    folder = files("botocore") / "data" / service / version
    packed = folder / "service-2.json.gz"
    raw = gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / "service-2.json").read_bytes()
    model: dict[str, Any] = json.loads(raw, object_hook=_without_documentation)
    return model


def _without_documentation(value: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value.get("documentation"), str):  # a member named so is a mapping, and stays
        del value["documentation"]
    return value


# --- AWS's error codes, which the AWS wire and the management API share, so that clients need one table


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
