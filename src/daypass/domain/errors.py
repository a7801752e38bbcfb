"""The closed set of errors that an operation can raise.

In the domain a denial is a value (`Decision`). An operation that fails raises `DaypassError`. Each wire package maps
the kind to its protocol's error: by its family, in one exhaustive `match`, or by a row of its exception table. `public`
is all that the caller sees; `private` goes to the record. Never put a secret in either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from types import TracebackType
from typing import Any, Self


class Family(StrEnum):
    """A group of error kinds with the same origin of the fault and the same use of a retry, in every protocol."""

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


class ErrorKind(StrEnum):
    """Why an operation failed, independent of the protocol, with its family. The comment gives the code of the AWS wire."""

    family: Family

    def __new__(cls, value: str, family: Family | None = None) -> Self:
        """A member. `family` is required; it has a default only because a look-up by value gives the value alone."""
        if family is None:
            raise TypeError(f"{value} has no family")
        member = str.__new__(cls, value)
        member._value_ = value
        member.family = family
        return member

    # One line for each kind: the reference page is made from the comment at its end.
    # fmt: off
    # The request itself
    UNKNOWN_OPERATION = "unknown_operation", Family.REQUEST  # InvalidAction
    MISSING_ACTION = "missing_action", Family.REQUEST  # MissingAction: the request names no operation
    UNSUPPORTED_OPERATION = "unsupported_operation", Family.REQUEST  # UnsupportedOperation: AWS has it, Daypass does not
    MALFORMED_REQUEST = "malformed_request", Family.REQUEST  # MalformedInput / SerializationException
    REQUEST_TOO_LARGE = "request_too_large", Family.REQUEST  # RequestEntityTooLarge, 413
    HEADERS_TOO_LARGE = "headers_too_large", Family.REQUEST  # RequestHeaderSectionTooLarge, 431
    MISSING_PARAMETER = "missing_parameter", Family.REQUEST  # MissingParameter
    INVALID_PARAMETER = "invalid_parameter", Family.REQUEST  # InvalidParameterValue
    VALIDATION = "validation", Family.REQUEST  # ValidationError
    INVALID_INPUT = "invalid_input", Family.REQUEST  # InvalidInput (IAM)
    MALFORMED_POLICY = "malformed_policy", Family.CONTENT  # MalformedPolicyDocument
    PACKED_POLICY_TOO_LARGE = "packed_policy_too_large", Family.CONTENT  # PackedPolicyTooLarge
    INVALID_AUTHORIZATION_MESSAGE = "invalid_authorization_message", Family.CONTENT  # InvalidAuthorizationMessageException
    # OAuth's own; on other wires ValidationError
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type", Family.REQUEST  # unsupported_grant_type (RFC 6749, 5.2)
    AUTHORIZATION_PENDING = "authorization_pending", Family.REQUEST  # authorization_pending (RFC 8628, 3.5)
    POLLING_TOO_FAST = "polling_too_fast", Family.REQUEST  # slow_down (RFC 8628, 3.5)
    EXPIRED_DEVICE_CODE = "expired_device_code", Family.REQUEST  # expired_token (RFC 8628, 3.5)
    CONSENT_DENIED = "consent_denied", Family.DENIED  # access_denied (RFC 8628, 3.5): the person has refused
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type", Family.REQUEST  # unsupported_response_type (RFC 6749, 4.1.2.1)
    REQUEST_OBJECT = "request_object", Family.REQUEST  # request_not_supported (OpenID Connect Core 1.0, 3.1.2.6)
    UNSUPPORTED_TOKEN_TYPE = "unsupported_token_type", Family.REQUEST  # unsupported_token_type (RFC 7009, 2.2.1)
    INVALID_TARGET = "invalid_target", Family.REQUEST  # invalid_target (RFC 8707, 2): no token for this audience
    INVALID_CLIENT = "invalid_client", Family.CREDENTIALS  # invalid_client, 401 (RFC 6749, 5.2): the client did not authenticate
    INVALID_GRANT = "invalid_grant", Family.PROOF  # invalid_grant (RFC 6749, 5.2): a code or refresh token is not valid
    UNAUTHORIZED_CLIENT = "unauthorized_client", Family.DENIED  # unauthorized_client (RFC 6749, 5.2): not a grant of this client
    INVALID_DPOP_PROOF = "invalid_dpop_proof", Family.PROOF  # invalid_dpop_proof (RFC 9449, 5)
    USE_DPOP_NONCE = "use_dpop_nonce", Family.PROOF  # use_dpop_nonce (RFC 9449, 8): the proof needs the nonce of the response
    INVALID_CLIENT_METADATA = "invalid_client_metadata", Family.REQUEST  # invalid_client_metadata (RFC 7591, 3.2.2)
    INVALID_REDIRECT_URI = "invalid_redirect_uri", Family.REQUEST  # invalid_redirect_uri (RFC 7591, 3.2.2)
    INVALID_SCOPE = "invalid_scope", Family.REQUEST  # invalid_scope (RFC 6749, 5.2)
    INVALID_AUTHORIZATION_DETAILS = "invalid_authorization_details", Family.REQUEST  # invalid_authorization_details (RFC 9396, 5)
    INSUFFICIENT_SESSION_LIFETIME = "insufficient_session_lifetime", Family.CONTENT  # InsufficientSessionLifetime
    INVALID_SUBJECT_CREDENTIALS = "invalid_subject_credentials", Family.CONTENT  # InvalidSubjectCredentials
    SESSION_DURATION_ESCALATION = "session_duration_escalation", Family.CONTENT  # SessionDurationEscalationException, 403
    OUTBOUND_FEDERATION_DISABLED = "outbound_federation_disabled", Family.CONTENT  # OutboundWebIdentityFederationDisabledException, 403
    JWT_PAYLOAD_SIZE = "jwt_payload_size", Family.CONTENT  # JWTPayloadSizeExceededException, 400
    PASSWORD_POLICY = "password_policy", Family.CONTENT  # PasswordPolicyViolation, 400: a password that the account's policy refuses
    # Who is asking
    MISSING_CREDENTIALS = "missing_credentials", Family.CREDENTIALS  # MissingAuthenticationToken, 403
    INCOMPLETE_SIGNATURE = "incomplete_signature", Family.CREDENTIALS  # IncompleteSignature, 400
    SIGNATURE_MISMATCH = "signature_mismatch", Family.CREDENTIALS  # SignatureDoesNotMatch, 403 (the signature does not match the one you provided)
    UNKNOWN_CREDENTIALS = "unknown_credentials", Family.CREDENTIALS  # InvalidClientTokenId, 403 (the security token is invalid)
    EXPIRED_CREDENTIALS = "expired_credentials", Family.CREDENTIALS  # ExpiredToken, 403 (the security token is expired, or revoked)
    INVALID_IDENTITY_TOKEN = "invalid_identity_token", Family.PROOF  # InvalidIdentityToken, 400
    EXPIRED_IDENTITY_TOKEN = "expired_identity_token", Family.PROOF  # ExpiredTokenException, 400
    IDP_REJECTED_CLAIM = "idp_rejected_claim", Family.PROOF  # IDPRejectedClaim, 403
    IDP_COMMUNICATION = "idp_communication", Family.UPSTREAM  # IDPCommunicationError, 400
    INVALID_USER_TYPE = "invalid_user_type", Family.CONTENT  # InvalidUserType, 400: only a user has a password
    # Whether they may
    ACCESS_DENIED = "access_denied", Family.DENIED  # AccessDenied, 403 (the user is not authorized to perform the action)
    # The directory
    NOT_FOUND = "not_found", Family.ABSENT  # NoSuchEntity, 404
    ALREADY_EXISTS = "already_exists", Family.CONFLICT  # EntityAlreadyExists, 409
    DELETE_CONFLICT = "delete_conflict", Family.CONFLICT  # DeleteConflict, 409
    LIMIT_EXCEEDED = "limit_exceeded", Family.CONFLICT  # LimitExceeded, 409
    UNMODIFIABLE = "unmodifiable", Family.CONTENT  # UnmodifiableEntity, 400
    CONCURRENT_MODIFICATION = "concurrent_modification", Family.CONFLICT  # ConcurrentModification, 409
    POLICY_NOT_ATTACHABLE = "policy_not_attachable", Family.CONTENT  # PolicyNotAttachable, 400
    INVALID_AUTHENTICATION_CODE = "invalid_authentication_code", Family.CONTENT  # InvalidAuthenticationCode, 403: wrong MFA codes
    REPORT_NOT_PRESENT = "report_not_present", Family.ABSENT  # ReportNotPresent, 410: no credential report was asked for
    REPORT_EXPIRED = "report_expired", Family.ABSENT  # ReportExpired, 410: the credential report is older than four hours
    FEATURE_ENABLED = "feature_enabled", Family.CONFLICT  # FeatureEnabled, 409: it is switched on already
    FEATURE_DISABLED = "feature_disabled", Family.ABSENT  # FeatureDisabled, 404: it is not switched on
    POLICY_EVALUATION = "policy_evaluation", Family.CONTENT  # PolicyEvaluation, 500: a stored policy cannot be simulated
    # The service
    THROTTLED = "throttled", Family.THROTTLED  # Throttling, 400
    OVERLOADED = "overloaded", Family.UNAVAILABLE  # SlowDown, 503: too much to do, or no memory for the body (with Retry-After)
    UNAVAILABLE = "unavailable", Family.UNAVAILABLE  # ServiceUnavailable, 503
    # fmt: on


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


class ignored:  # noqa: N801  # as contextlib.suppress
    """In `with ignored(ErrorKind.NOT_FOUND):` an error of these kinds ends the block, and nothing more."""

    def __init__(self, *kinds: ErrorKind) -> None:
        self._kinds = kinds

    def __enter__(self) -> None: ...

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        return isinstance(error, DaypassError) and error.kind in self._kinds


@contextmanager
def replaced(kind: ErrorKind, instead: DaypassError) -> Iterator[None]:
    """In the block, an error of this kind becomes `instead`."""
    try:
        yield
    except DaypassError as error:
        if error.kind is not kind:
            raise
        raise instead from None
