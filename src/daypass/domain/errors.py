"""The closed set of ways an operation can fail.

A denial inside the domain is a value (`Decision`). What an *operation* cannot do it raises as `DaypassError`;
each wire package turns the kind into its own protocol's error in one exhaustive `match`. `public` is all that
the caller learns; `private` goes to the record. Never put a secret in either.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ErrorKind(StrEnum):
    """Why an operation failed, in no protocol's words. The AWS wire's code stands behind each."""

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
    INSUFFICIENT_SESSION_LIFETIME = "insufficient_session_lifetime"  # InsufficientSessionLifetimeException
    INVALID_SUBJECT_CREDENTIALS = "invalid_subject_credentials"  # InvalidSubjectCredentialsException
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
    UNAVAILABLE = "unavailable"  # ServiceUnavailable, 503


class DaypassError(Exception):
    """An operation refuses, with what the caller may know and what only the record may.

    Args:
        kind: the closed reason.
        public: the message for the caller, in the words of its protocol (AWS's where AWS has them).
        private: further facts for the audit record; values must be JSON-serialisable and never secret.
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
