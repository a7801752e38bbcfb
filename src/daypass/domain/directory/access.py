"""Access requests, the votes on them, the grants that they lead to, and the rules that govern them.

`domain.access` has the transitions. These classes only hold state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RequestState(StrEnum):
    """The state of an access request; stored as its value."""

    DRAFT = "draft"  # waits for the beneficiary to accept it
    PENDING = "pending"  # waits for approvers
    APPROVED = "approved"  # the grants exist and have not been used
    DENIED = "denied"
    EXPIRED = "expired"  # nobody decided, or nobody used the grants, in time
    CANCELLED = "cancelled"
    CLAIMED = "claimed"  # a grant has been used: its clock runs
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """A rule as it was written. `domain.access.rule` parses it."""

    account: str
    name: str
    document: str  # JSON
    digest: str  # SHA-256 of the canonical document, hex
    created_at: int
    updated_at: int
    updated_by: str  # ARN


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request for grants. Open pages follow it by the feed."""

    id: str  # 32 hex digits, in order of time
    account: str  # the account of the roles
    state: RequestState
    # requester_id, beneficiary_id: the first hop's principal id of the requester, and of the person who gets the
    # grants.
    requester_id: str
    beneficiary_id: str
    client_token: str  # makes the creation idempotent; unique for each requester. The id when none was given
    # document: the exact request (`domain.access.terms.Terms`), canonical JSON; `digest`: its SHA-256, hex.
    document: str
    digest: str
    # Identifiers of requester and beneficiary (`domain.access.request.identifiers`); they never approve.
    persons: tuple[str, ...]
    created_at: int
    deadline: int  # ms; a draft or pending request expires then, an approved one when no grant has been used by then
    decided_at: int = 0
    ended_at: int = 0
    end_reason: str = ""  # an EndReason, or why the request was denied
    # risk: the score, from 0 to 100, and `risk_reasons`: JSON, see `domain.access.risk`.
    risk: int = 0
    risk_reasons: str = "[]"
    escalated_at: int = 0  # ms; 0: not escalated


@dataclass(frozen=True, slots=True)
class AccessVote:
    """One approver's vote on a request. Never on the feed."""

    request_id: str
    approver_id: str  # the first hop's principal id of the approver
    account: str
    approver_arn: str
    approve: bool  # False: a denial
    binding: str  # the digest of what was approved (`domain.access.terms.binding_of`)
    stages: tuple[tuple[str, ...], ...]  # for each rule and stage that the approver was eligible for: (rule, stage)
    persons: tuple[str, ...]  # identifiers of the approver
    principal_ids: tuple[str, ...]  # of all hops of the approver
    mfa_at: int
    at: int
    document: str = "{}"  # JSON: the reason, and how the approver narrowed the request (`domain.access.quorum.Ballot`)


@dataclass(frozen=True, slots=True)
class Grant:
    """The right of one person to use one role for a limited time."""

    id: str  # 32 hex digits
    account: str
    request_id: str
    principal_id: str  # the first hop's principal id of the person
    role_id: str  # a recreated role with the same name does not get the grant
    role_arn: str
    policies: tuple[str, ...]  # scope-down policies of its sessions; each narrows separately
    seconds: int  # the duration, counted from the first use
    # starts_at, claim_by: ms; it is first used between these times.
    starts_at: int
    claim_by: int
    created_at: int
    # rule: the name of the approval rule. digest: of what was approved: the request, the role and the rule.
    rule: str
    digest: str
    # The approver ids of the votes that counted under the rule; () for an automatic approval.
    approvers: tuple[str, ...] = ()
    ticket: str = ""
    risk: int = 0
    on_call: bool = False
    break_glass: bool = False
    max_uses: int = 0  # sessions that it gives; 0: any number
    uses: int = 0
    # claimed_at, ends_at: ms; 0 until the first use.
    claimed_at: int = 0
    ends_at: int = 0
    ended_at: int = 0  # ms; 0 while it is open. A grant whose time has passed may still be open until it is swept
    end_reason: str = ""
    warned_at: int = 0


@dataclass(frozen=True, slots=True)
class AccessReview:
    """A review that has to follow an emergency grant. It stays open until it is done. Never on the feed."""

    id: str  # that of the request
    account: str
    opened_at: int
    persons: tuple[str, ...]  # they cannot do the review
    closed_at: int = 0
    closed_by: str = ""  # ARN
    finding: str = ""


@dataclass(frozen=True, slots=True)
class NotificationChannel:
    """A channel for an account's notifications. Never on the feed.

    Attributes:
        kind: webhook, email, slack, teams, jira or servicenow. target: a URL, or addresses with commas.
        sealed_secret: of a webhook or ticket system, or what signs the messages of a chat, sealed by the storage ring; b"" for
        none.
        event_types: values of EventType.
    """

    account: str
    name: str
    kind: str
    target: str
    sealed_secret: bytes
    event_types: tuple[str, ...]
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class ChatLink:
    """A user of a chat service who may vote as a user of Daypass, where approval rules allow it. Never on the feed."""

    account: str
    # id: "SERVICE:KEY:WORKSPACE:USER", where KEY is a fingerprint of what signs the messages. name: the chat user's
    # name when the link was made, for people to read.
    id: str
    user_id: str
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification for one channel. Never on the feed."""

    id: str
    account: str
    channel: str
    event: str
    document: str  # JSON: what it says
    created_at: int
    outcome: str = ""  # "" while it waits; "delivered" or "dead"
    attempts: int = 0
    next_at: int = 0  # ms; the next attempt
    delivered_at: int = 0
    error: str = ""
