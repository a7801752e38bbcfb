"""The closed set of errors that an operation can raise.

In the domain a denial is a value (`Decision`). An operation that fails raises `DaypassError`. Each wire package maps
the kind to its protocol's error: by its family, in one exhaustive `match`, or by a row of its exception table. `public`
is all that the caller sees; `private` goes to the record. Never put a secret in either.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal, get_args


class ErrorKind(StrEnum):
    """Why an operation failed, independent of the protocol. The comment gives the code of the AWS wire."""

    # The request itself
    UNKNOWN_OPERATION = "unknown_operation"  # InvalidAction
    MISSING_ACTION = "missing_action"  # MissingAction: the request names no operation
    UNSUPPORTED_OPERATION = "unsupported_operation"  # UnsupportedOperation: AWS has it, Daypass does not
    MALFORMED_REQUEST = "malformed_request"  # MalformedInput / SerializationException
    REQUEST_TOO_LARGE = "request_too_large"  # RequestEntityTooLarge, 413
    MISSING_PARAMETER = "missing_parameter"  # MissingParameter
    INVALID_PARAMETER = "invalid_parameter"  # InvalidParameterValue
    VALIDATION = "validation"  # ValidationError
    INVALID_INPUT = "invalid_input"  # InvalidInput (IAM)
    MALFORMED_POLICY = "malformed_policy"  # MalformedPolicyDocument
    PACKED_POLICY_TOO_LARGE = "packed_policy_too_large"  # PackedPolicyTooLarge
    INVALID_AUTHORIZATION_MESSAGE = "invalid_authorization_message"  # InvalidAuthorizationMessageException
    # OAuth's own; on other wires ValidationError
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"  # unsupported_grant_type (RFC 6749, 5.2)
    AUTHORIZATION_PENDING = "authorization_pending"  # authorization_pending (RFC 8628, 3.5)
    POLLING_TOO_FAST = "polling_too_fast"  # slow_down (RFC 8628, 3.5)
    EXPIRED_DEVICE_CODE = "expired_device_code"  # expired_token (RFC 8628, 3.5)
    CONSENT_DENIED = "consent_denied"  # access_denied (RFC 8628, 3.5): the person has refused
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"  # unsupported_response_type (RFC 6749, 4.1.2.1)
    UNSUPPORTED_TOKEN_TYPE = "unsupported_token_type"  # unsupported_token_type (RFC 7009, 2.2.1)
    INVALID_TARGET = "invalid_target"  # invalid_target (RFC 8707, 2): no token for this audience
    INVALID_CLIENT = "invalid_client"  # invalid_client, 401 (RFC 6749, 5.2): the client did not authenticate
    INVALID_GRANT = "invalid_grant"  # invalid_grant (RFC 6749, 5.2): a code or refresh token is not valid
    UNAUTHORIZED_CLIENT = "unauthorized_client"  # unauthorized_client (RFC 6749, 5.2): not a grant of this client
    INVALID_DPOP_PROOF = "invalid_dpop_proof"  # invalid_dpop_proof (RFC 9449, 5)
    USE_DPOP_NONCE = "use_dpop_nonce"  # use_dpop_nonce (RFC 9449, 8): the proof needs the nonce of the response
    INVALID_SCOPE = "invalid_scope"  # invalid_scope (RFC 6749, 5.2)
    INVALID_AUTHORIZATION_DETAILS = "invalid_authorization_details"  # the same (RFC 9396, 5)
    INSUFFICIENT_SESSION_LIFETIME = "insufficient_session_lifetime"  # InsufficientSessionLifetimeException
    INVALID_SUBJECT_CREDENTIALS = "invalid_subject_credentials"  # InvalidSubjectCredentialsException
    SESSION_DURATION_ESCALATION = "session_duration_escalation"  # SessionDurationEscalationException, 403
    OUTBOUND_FEDERATION_DISABLED = "outbound_federation_disabled"  # OutboundWebIdentityFederationDisabledException, 403
    JWT_PAYLOAD_SIZE = "jwt_payload_size"  # JWTPayloadSizeExceededException, 400
    PASSWORD_POLICY = "password_policy"  # PasswordPolicyViolation, 400: a password that the account's policy refuses
    # Who is asking
    MISSING_CREDENTIALS = "missing_credentials"  # MissingAuthenticationToken, 403
    INCOMPLETE_SIGNATURE = "incomplete_signature"  # IncompleteSignature, 400
    SIGNATURE_MISMATCH = "signature_mismatch"  # SignatureDoesNotMatch, 403
    UNKNOWN_CREDENTIALS = "unknown_credentials"  # InvalidClientTokenId, 403
    EXPIRED_CREDENTIALS = "expired_credentials"  # ExpiredToken, 403 (also: revoked)
    INVALID_IDENTITY_TOKEN = "invalid_identity_token"  # InvalidIdentityToken, 400
    EXPIRED_IDENTITY_TOKEN = "expired_identity_token"  # ExpiredTokenException, 400
    IDP_REJECTED_CLAIM = "idp_rejected_claim"  # IDPRejectedClaim, 403
    IDP_COMMUNICATION = "idp_communication"  # IDPCommunicationError, 400
    INVALID_USER_TYPE = "invalid_user_type"  # InvalidUserType, 400: only a user has a password of its own
    # Whether they may
    ACCESS_DENIED = "access_denied"  # AccessDenied, 403
    # The directory
    NOT_FOUND = "not_found"  # NoSuchEntity, 404
    ALREADY_EXISTS = "already_exists"  # EntityAlreadyExists, 409
    DELETE_CONFLICT = "delete_conflict"  # DeleteConflict, 409
    LIMIT_EXCEEDED = "limit_exceeded"  # LimitExceeded, 409
    UNMODIFIABLE = "unmodifiable"  # UnmodifiableEntity, 400
    CONCURRENT_MODIFICATION = "concurrent_modification"  # ConcurrentModification, 409
    POLICY_NOT_ATTACHABLE = "policy_not_attachable"  # PolicyNotAttachable, 400
    INVALID_AUTHENTICATION_CODE = "invalid_authentication_code"  # InvalidAuthenticationCode, 403: wrong MFA codes
    REPORT_NOT_PRESENT = "report_not_present"  # ReportNotPresent, 410: no credential report was asked for
    REPORT_EXPIRED = "report_expired"  # ReportExpired, 410: the credential report is older than four hours
    FEATURE_ENABLED = "feature_enabled"  # FeatureEnabled, 409: it is switched on already
    FEATURE_DISABLED = "feature_disabled"  # FeatureDisabled, 404: it is not switched on
    POLICY_EVALUATION = "policy_evaluation"  # PolicyEvaluation, 500: a stored policy cannot be simulated
    # The service
    THROTTLED = "throttled"  # Throttling, 400
    OVERLOADED = "overloaded"  # SlowDown, 503, Retry-After: too much to do, or no memory for the body
    UNAVAILABLE = "unavailable"  # ServiceUnavailable, 503


class Family(StrEnum):
    """What error kinds have in common in every protocol: where the fault lies, and whether a retry can succeed."""

    REQUEST = "request"  # the request cannot be parsed, or its form is wrong
    CONTENT = "content"  # the request is well-formed but cannot be fulfilled
    CREDENTIALS = "credentials"  # the signature is missing or wrong, or the credentials are unknown or expired
    PROOF = "proof"  # a token, assertion or certificate of an identity provider is not accepted
    DENIED = "denied"  # policies do not allow it
    ABSENT = "absent"  # the requested entity does not exist
    CONFLICT = "conflict"  # the state of the directory does not allow it now
    UPSTREAM = "upstream"  # a required identity provider does not answer
    THROTTLED = "throttled"  # too many requests; a later retry can succeed
    UNAVAILABLE = "unavailable"  # the service cannot do it now; a later retry can succeed


# The kinds of each family. Add a new kind to one: mypy reports a missing one in `family_of`.
_Request = Literal[
    ErrorKind.UNKNOWN_OPERATION,
    ErrorKind.MISSING_ACTION,
    ErrorKind.UNSUPPORTED_OPERATION,
    ErrorKind.MALFORMED_REQUEST,
    ErrorKind.REQUEST_TOO_LARGE,
    ErrorKind.MISSING_PARAMETER,
    ErrorKind.INVALID_PARAMETER,
    ErrorKind.VALIDATION,
    ErrorKind.INVALID_INPUT,
    ErrorKind.UNSUPPORTED_GRANT_TYPE,
    ErrorKind.AUTHORIZATION_PENDING,
    ErrorKind.POLLING_TOO_FAST,
    ErrorKind.EXPIRED_DEVICE_CODE,
    ErrorKind.UNSUPPORTED_RESPONSE_TYPE,
    ErrorKind.UNSUPPORTED_TOKEN_TYPE,
    ErrorKind.INVALID_TARGET,
    ErrorKind.INVALID_SCOPE,
    ErrorKind.INVALID_AUTHORIZATION_DETAILS,
]
_Content = Literal[
    ErrorKind.MALFORMED_POLICY,
    ErrorKind.PACKED_POLICY_TOO_LARGE,
    ErrorKind.INVALID_AUTHORIZATION_MESSAGE,
    ErrorKind.INSUFFICIENT_SESSION_LIFETIME,
    ErrorKind.INVALID_SUBJECT_CREDENTIALS,
    ErrorKind.SESSION_DURATION_ESCALATION,
    ErrorKind.OUTBOUND_FEDERATION_DISABLED,
    ErrorKind.JWT_PAYLOAD_SIZE,
    ErrorKind.PASSWORD_POLICY,
    ErrorKind.INVALID_USER_TYPE,
    ErrorKind.UNMODIFIABLE,
    ErrorKind.POLICY_NOT_ATTACHABLE,
    ErrorKind.INVALID_AUTHENTICATION_CODE,
    ErrorKind.POLICY_EVALUATION,
]
_Credentials = Literal[
    ErrorKind.INVALID_CLIENT,
    ErrorKind.MISSING_CREDENTIALS,
    ErrorKind.INCOMPLETE_SIGNATURE,
    ErrorKind.SIGNATURE_MISMATCH,
    ErrorKind.UNKNOWN_CREDENTIALS,
    ErrorKind.EXPIRED_CREDENTIALS,
]
_Proof = Literal[
    ErrorKind.INVALID_GRANT,
    ErrorKind.INVALID_DPOP_PROOF,
    ErrorKind.USE_DPOP_NONCE,
    ErrorKind.INVALID_IDENTITY_TOKEN,
    ErrorKind.EXPIRED_IDENTITY_TOKEN,
    ErrorKind.IDP_REJECTED_CLAIM,
]
_Denied = Literal[ErrorKind.CONSENT_DENIED, ErrorKind.UNAUTHORIZED_CLIENT, ErrorKind.ACCESS_DENIED]
_Absent = Literal[
    ErrorKind.NOT_FOUND, ErrorKind.REPORT_NOT_PRESENT, ErrorKind.REPORT_EXPIRED, ErrorKind.FEATURE_DISABLED
]
_Conflict = Literal[
    ErrorKind.ALREADY_EXISTS,
    ErrorKind.DELETE_CONFLICT,
    ErrorKind.LIMIT_EXCEEDED,
    ErrorKind.CONCURRENT_MODIFICATION,
    ErrorKind.FEATURE_ENABLED,
]
_Upstream = Literal[ErrorKind.IDP_COMMUNICATION]
_Throttled = Literal[ErrorKind.THROTTLED]
_Unavailable = Literal[ErrorKind.OVERLOADED, ErrorKind.UNAVAILABLE]

_FAMILIES: Final = {
    kind: family
    for family, kinds in (
        (Family.REQUEST, _Request),
        (Family.CONTENT, _Content),
        (Family.CREDENTIALS, _Credentials),
        (Family.PROOF, _Proof),
        (Family.DENIED, _Denied),
        (Family.ABSENT, _Absent),
        (Family.CONFLICT, _Conflict),
        (Family.UPSTREAM, _Upstream),
        (Family.THROTTLED, _Throttled),
        (Family.UNAVAILABLE, _Unavailable),
    )
    for kind in get_args(kinds)
}


def family_of(kind: ErrorKind) -> Family:
    """The family of a kind."""
    member: (
        _Request
        | _Content
        | _Credentials
        | _Proof
        | _Denied
        | _Absent
        | _Conflict
        | _Upstream
        | _Throttled
        | _Unavailable
    ) = kind  # mypy proves that each kind has a family
    return _FAMILIES[member]


class DaypassError(Exception):
    """A failed operation, with a message for the caller and facts for the record.

    Args:
        kind: the closed reason.
        public: the message for the caller, in the words of its protocol (AWS's where AWS has them).
        private: further facts for the audit record; values must be JSON-serializable and never secret.
        explanation: for ACCESS_DENIED, the `Decision` in its JSON form, sealed for the caller as the encoded
            authorization message and stored in the record.
    """

    def __init__(
        self,
        kind: ErrorKind,
        public: str,
        *,
        private: Mapping[str, Any] | None = None,
        explanation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(public)
        self.kind = kind
        self.public = public
        self.private: Mapping[str, Any] = private or {}
        self.explanation = explanation

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles all fields, because heavy work raises it in another process."""
        return _refusal, (self.kind, self.public, dict(self.private), self.explanation)


def _refusal(
    kind: ErrorKind, public: str, private: Mapping[str, Any], explanation: Mapping[str, Any] | None
) -> DaypassError:
    return DaypassError(kind, public, private=private, explanation=explanation)
