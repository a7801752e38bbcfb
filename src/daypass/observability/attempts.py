"""How an event counts in the measures: the outcome of an attempt to get a session, its cause class, and the proof.

All values are members of small closed sets. None is an id, or a text that a caller chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from daypass.domain.errors import ErrorKind, Family
from daypass.domain.events import Event, EventType

ISSUING: Final = frozenset(
    {
        "sts:AssumeRole",
        "sts:AssumeRoleWithSAML",
        "sts:AssumeRoleWithWebIdentity",
        "sts:GetSessionToken",
        "sts:GetFederationToken",
        "sts:GetScopedCredentials",
        "rolesanywhere:CreateSession",
        "daypass:ExchangeToken",
    }
)
"""Operations that issue sessions."""

ATTEMPTS: Final = ISSUING | {"daypass:SignInWithSAML"}  # a response that is refused ends a login
_PROOFS: Final = {
    "sts:AssumeRoleWithSAML": "saml",
    "daypass:SignInWithSAML": "saml",
    "sts:AssumeRoleWithWebIdentity": "token",
    "daypass:ExchangeToken": "token",
    "rolesanywhere:CreateSession": "certificate",
}
NO_CAUSE: Final = "none"
UNAVAILABLE: Final = "unavailable"
_CAUSES: Final[Mapping[Family, str]] = {
    Family.REQUEST: "request",
    Family.CONTENT: "request",
    Family.ABSENT: "request",
    Family.CONFLICT: "request",
    Family.CREDENTIALS: "credentials",
    Family.PROOF: "proof",
    Family.DENIED: "caller_policy",
    Family.UPSTREAM: "issuer",
    Family.THROTTLED: "throttled",
    Family.UNAVAILABLE: UNAVAILABLE,
}
_EXPIRED: Final = frozenset({ErrorKind.EXPIRED_CREDENTIALS, ErrorKind.EXPIRED_IDENTITY_TOKEN})
CAUSES: Final = frozenset({*_CAUSES.values(), NO_CAUSE, "trust_policy", "blocked", "expired", "revoked"})
"""Every cause class."""

_DENIALS: Final = frozenset({"trust_policy", "caller_policy", "blocked"})
_REFUSALS: Final = frozenset(
    {
        EventType.REQUEST_DENIED,
        EventType.REQUEST_FAILED,
        EventType.REQUEST_UNAUTHENTICATED,
        EventType.REQUEST_MALFORMED,
    }
)
_ISSUED: Final = EventType.SESSION_ISSUED
_REPEATED: Final = EventType.REQUEST_REPEATED


class Attempt(NamedTuple):
    """The labels of `daypass_assume`. `outcome` is "" for an event that is no attempt to get a session."""

    operation: str = ""
    proof: str = ""
    outcome: str = ""
    cause: str = ""
    role_class: str = ""


_NO_ATTEMPT: Final = Attempt()


def attempt_of(event: Event) -> Attempt:
    """An event as an attempt. A refusal that is none has its cause alone.

    An issued session counts for any operation; a refusal counts if its operation issues sessions.
    """
    if event.type is _ISSUED:
        role_class = "elevated" if event.grant_id else "standard"
        return Attempt(event.operation, _proof_of(event), "issued", NO_CAUSE, role_class)
    if not event.error:
        return _NO_ATTEMPT
    kind: EventType = event.type
    if kind is _REPEATED:
        counted = str(event.detail.get("type", ""))
        if not counted:  # refusals of several kinds, counted together
            return _NO_ATTEMPT
        kind = EventType(counted)
    cause = _cause_of(event)
    if event.operation not in ATTEMPTS or kind not in _REFUSALS:
        return Attempt(cause=cause)
    return Attempt(event.operation, _proof_of(event), outcome_of(cause), cause, "standard")


def outcome_of(cause: str) -> str:
    """The outcome of a refused attempt."""
    if cause == UNAVAILABLE:
        return UNAVAILABLE
    return "denied" if cause in _DENIALS else "failed"


def number_of(event: Event) -> int:
    """How many refusals an event stands for."""
    count = event.detail.get("count") if event.type is _REPEATED else 1
    return count if isinstance(count, int) else 1


def _proof_of(event: Event) -> str:
    """A caller with a session makes a chain, so `session` marks chained attempts."""
    known = _PROOFS.get(event.operation)
    return known or ("session" if "session_id" in event.actor else "key")


def _cause_of(event: Event) -> str:
    kind = ErrorKind(event.error)
    if kind in _EXPIRED:  # revoked sessions are refused with the same error
        private = event.detail.get("private")
        reason = private.get("reason") if isinstance(private, Mapping) else _repeated_reason(event)
        return "revoked" if reason == "revoked" else "expired"
    if kind is ErrorKind.ACCESS_DENIED:
        decision = event.decision or {}
        blocked_by = "block" if "revocation" in decision else decision.get("blocked_by")
        return {"resource": "trust_policy", "block": "blocked"}.get(str(blocked_by), "caller_policy")
    return _CAUSES[kind.family]


def _repeated_reason(event: Event) -> str:
    """The reason of refusals that were counted together, if they had only one."""
    values = event.detail.get("values")
    reasons = values.get("detail.private.reason") if isinstance(values, Mapping) else None
    return next(iter(reasons)) if isinstance(reasons, Mapping) and len(reasons) == 1 else ""
