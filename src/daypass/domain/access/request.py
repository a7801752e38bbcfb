"""The states of an access request and of its grants, and the persons who vote.

draft → pending → approved | denied | expired | cancelled; approved → claimed → ended. A closed request never changes.
Callers run these functions inside a transaction that holds the request, so each transition happens once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from daypass.domain.claims import TRANSIENT
from daypass.domain.directory import AccessRequest, Grant, RequestState
from daypass.domain.policy.model import Value
from daypass.domain.session import Hop


class EndReason(StrEnum):
    """Why a request or a grant ended."""

    TIME = "time"  # the duration is over
    DONE = "done"  # the person said so
    TICKET_CLOSED = "ticket_closed"
    REVOKED = "revoked"
    CHANGED = "policy_changed"  # the role, its policies or the rule changed after the approval
    INELIGIBLE = "ineligible"  # requester or approver was gone at the first use
    UNCLAIMED = "unclaimed"  # not used before the claim-by time
    UNDECIDED = "undecided"  # not decided before the deadline
    DENIED = "denied"
    CANCELLED = "cancelled"


class TransitionRefused(Exception):
    """The request is in a state in which this is not possible. The message is for the caller."""


_S = RequestState
NEXT: Final[Mapping[RequestState, frozenset[RequestState]]] = {
    _S.DRAFT: frozenset({_S.PENDING, _S.CANCELLED, _S.EXPIRED}),
    _S.PENDING: frozenset({_S.APPROVED, _S.DENIED, _S.CANCELLED, _S.EXPIRED}),
    _S.APPROVED: frozenset({_S.CLAIMED, _S.ENDED, _S.EXPIRED, _S.CANCELLED}),
    _S.CLAIMED: frozenset({_S.ENDED}),
    _S.DENIED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.ENDED: frozenset(),
}
OPEN: Final = frozenset(state for state, following in NEXT.items() if following)
UNDECIDED: Final = frozenset({_S.DRAFT, _S.PENDING})
GRANTED: Final = frozenset({_S.APPROVED, _S.CLAIMED})
_BEFORE_DEADLINE: Final = frozenset({_S.PENDING, _S.APPROVED, _S.DENIED})


def moved(request: AccessRequest, state: RequestState, now: int, reason: str = "") -> AccessRequest:
    """The request in another state. Raises TransitionRefused when it cannot get there from its state, or not any more:
    after its deadline an undecided request can only be closed, whether or not that has happened yet (attack A289).
    """
    if state not in NEXT[request.state]:
        raise TransitionRefused(_in_state(request.state))
    if state in _BEFORE_DEADLINE:
        _check_deadline(request, now)
    changed = replace(request, state=state, end_reason=reason or request.end_reason)
    if request.state in UNDECIDED and state is not _S.PENDING:
        changed = replace(changed, decided_at=now)
    return replace(changed, ended_at=now) if not NEXT[state] else changed


def _in_state(state: RequestState) -> str:
    if state is _S.DRAFT:
        return "The access request is a draft: the person whom it is for has not accepted it."
    return f"The access request is {state.value}."


def check_undecided(request: AccessRequest, now: int) -> None:
    """Raises TransitionRefused unless the request can be voted on at `now` (ms)."""
    if request.state is not _S.PENDING:
        raise TransitionRefused(_in_state(request.state))
    _check_deadline(request, now)


def _check_deadline(request: AccessRequest, now: int) -> None:
    if now >= request.deadline:
        raise TransitionRefused("The access request has expired.")


def check_voter(request: AccessRequest, persons: Sequence[str]) -> None:
    """Raises TransitionRefused when the approver is the requester or the beneficiary, by any identity (attack A121)."""
    if same_person(request.persons, persons):
        raise TransitionRefused("Nobody approves their own access request.")


def overdue(request: AccessRequest, now: int) -> AccessRequest | None:
    """The request after its deadline has passed; None when nothing changes."""
    if request.state not in OPEN or request.state is _S.CLAIMED or now < request.deadline:
        return None
    reason = EndReason.UNCLAIMED if request.state is _S.APPROVED else EndReason.UNDECIDED
    return moved(request, _S.EXPIRED, now, reason.value)


# --- What a grant allows, and for how long


class GrantState(StrEnum):
    """The state of a grant at one time."""

    SCHEDULED = "scheduled"  # it starts later
    OPEN = "open"  # not used yet
    CLAIMED = "claimed"  # its clock runs
    ENDED = "ended"


class GrantUnusable(Exception):
    """The grant cannot be used. The message is for the caller; `reason` is why it has ended, if it has."""

    def __init__(self, message: str, reason: EndReason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


def state_of(grant: Grant, now: int) -> GrantState:
    """The state at `now` (ms), whether or not the end has been stored."""
    if grant.ended_at or end_due(grant, now) is not None:
        return GrantState.ENDED
    if grant.claimed_at:
        return GrantState.CLAIMED
    return GrantState.OPEN if now >= grant.starts_at else GrantState.SCHEDULED


def end_due(grant: Grant, now: int) -> EndReason | None:
    """Why an open grant has to end at `now`; None when it does not."""
    if grant.claimed_at:
        return EndReason.TIME if now >= grant.ends_at else None
    return EndReason.UNCLAIMED if now >= grant.claim_by else None


def check_usable(grant: Grant, now: int) -> None:
    """Raises GrantUnusable unless the grant gives a session at `now`."""
    if grant.ended_at:
        raise GrantUnusable(f"The grant has ended ({grant.end_reason}).")
    due = end_due(grant, now)
    if due is not None:
        raise GrantUnusable(f"The grant has ended ({due.value}).", due)
    if now < grant.starts_at:
        raise GrantUnusable("The grant has not started yet.")
    if grant.max_uses and grant.uses >= grant.max_uses:
        raise GrantUnusable("The grant has given all its sessions.")


def is_usable(grant: Grant, now: int) -> bool:
    """Whether the grant gives a session at `now`."""
    uses_left = not grant.max_uses or grant.uses < grant.max_uses
    return uses_left and state_of(grant, now) in (GrantState.OPEN, GrantState.CLAIMED)


def used_grant(grant: Grant, now: int) -> Grant:
    """The grant after one use. The first use starts its clock. Raises GrantUnusable."""
    check_usable(grant, now)
    if not grant.claimed_at:
        grant = replace(grant, claimed_at=now, ends_at=now + grant.seconds * 1000)
    return replace(grant, uses=grant.uses + 1) if grant.max_uses else grant


def latest_end(grant: Grant, now: int) -> int:
    """The latest end (ms) of a session that the grant gives at `now`."""
    return grant.ends_at if grant.claimed_at else now + grant.seconds * 1000


def ended_grant(grant: Grant, reason: EndReason, now: int) -> Grant:
    """The grant after its end. A grant that has ended does not change."""
    return grant if grant.ended_at else replace(grant, ended_at=now, end_reason=reason.value)


def keys_of(grant: Grant) -> dict[str, Value]:
    """The context keys of a request that uses the grant, lower-cased."""
    keys: dict[str, Value] = {
        "daypass:approved": "true",
        "daypass:grantid": grant.id,
        "daypass:approvercount": str(len(grant.approvers)),
        "daypass:riskscore": str(grant.risk),
        "daypass:oncall": "true" if grant.on_call else "false",
    }
    if grant.ticket:
        keys["daypass:ticketid"] = grant.ticket
    return keys


# --- Decides whether two callers are the same person: from the hops of their sessions, never from names


_FEDERATED: Final = re.compile(
    r"arn:aws:(?:iam|rolesanywhere):[a-z0-9-]*:[0-9]{12}:(?P<subject>(?:oidc-provider|saml-provider|trust-anchor)/.+)",
    re.DOTALL,
)

_SAML: Final = re.compile(r"arn:[^/]+:saml-provider/")
_TRANSIENT: Final = re.compile(rf"[^/]+:saml-provider/[^:]+:{TRANSIENT}")
NOBODY: Final = (
    "Who is behind this session is not known: somebody acts in it for another, or its identity provider gives people a new "
    "name at each sign-in (a transient NameID)."
)
"""For a person without an `original_principal`."""


def identifiers(hops: Sequence[Hop], named: str = "", linked: Iterable[str] = ()) -> tuple[str, ...]:
    """The identifiers of the person behind a chain, sorted.

    `named`: the source identity. `linked`: values of PERSON_TAG of the principals in the chain. Roles are not persons: only
    the principals that assumed them count. A subject of an identity provider is the same in every account that trusts it.
    A SAML provider may give a person a name in each format that an application asks for, but says who it is in the session
    name, too (attack A363).
    """
    found = {identifier(hop.principal_id) for hop in hops if not hop.principal_id.startswith("AROA")}
    if len(hops) > 1 and _SAML.match(hops[0].principal_id):
        found.add(f"subject:saml-provider:{_folded(hops[1].name)}")
    if named:
        found.add(source_identity(named))
    found.update(linked_person(value) for value in linked if value)
    return tuple(sorted(found))


def source_identity(value: str) -> str:
    """The identifier that a source identity is."""
    return f"source-identity:{_folded(value)}"


def linked_person(value: str) -> str:
    """The identifier that a value of PERSON_TAG is."""
    return f"person:{_folded(value)}"


def identifier(principal_id: str) -> str:
    """The identifier of a principal of `session.Hop`."""
    federated = _FEDERATED.fullmatch(principal_id)
    if federated is None:
        return f"principal:{principal_id}"
    provider, _, subject = federated["subject"].partition(":")
    kind, _, name = provider.partition("/")
    if kind == "oidc-provider":  # its name is the issuer; the names of the others are chosen by each account
        return f"subject:{_folded(f'{name}:{subject}')}"
    return f"subject:{kind}:{_folded(subject)}"


def same_person(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of identifiers belong to the same person."""
    return not set(one).isdisjoint(other)


def original_principal(hops: Sequence[Hop]) -> str:
    """The principal id that a grant is for: the first hop, if no other person is in the chain; else "".

    A session in which somebody acts for the person (RFC 8693, actor) does not use the person's grants. Whom a provider names
    anew at each sign-in would be another person at the next one, who approves what the first requested (attack A326).
    """
    if hops and _TRANSIENT.match(hops[0].principal_id):
        return ""
    persons = {hop.principal_id for hop in hops if not hop.principal_id.startswith("AROA")}
    return hops[0].principal_id if hops and persons == {hops[0].principal_id} else ""


def _folded(text: str) -> str:
    return text.strip().casefold()
