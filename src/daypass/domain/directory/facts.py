"""What has happened, as far as later decisions and reports need it: uses, reports, one-time things, revocations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastUse:
    """When somebody, or a long-term key, last called something. Kept to the minute (`audit.usage`). Never on the feed.

    `subject` is a user's or role's unique id, the account id of a root, or the id of a long-term key. `operation` is
    "iam:CreateRole"; of a key it is the service alone.
    """

    subject: str
    operation: str
    account: str
    at: int
    region: str


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """The newest credential report of an account: its CSV, deflated. Never on the feed."""

    account: str
    created_at: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class AccessReport:
    """A job of GenerateServiceLastAccessedDetails with what it found, frozen (JSON, deflated). Never on the feed."""

    id: str  # a UUID: the JobId
    account: str
    owner_id: str  # the unique id of who asked: nobody else gets it
    arn: str  # of a user, group, role or managed policy
    granularity: str  # SERVICE_LEVEL | ACTION_LEVEL
    created_at: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A one-time thing that has been used: whoever inserts it first has redeemed it. Never on the change feed.

    `purpose` and `id` are unique together; `id` is a digest where the thing itself is long or secret.
    """

    purpose: str  # "jwt" | "saml" | "totp" | …
    id: str
    account: str
    at: int
    expires_at: int  # ms; after this the thing is refused for its age, so this may be forgotten


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """The text of a managed session policy as it was when a session was issued, by its SHA-256 in hex.

    Kept until the last session that names it expires: a missing content means deny, so that a later edit of
    the managed policy can never widen a session.
    """

    hash: str
    account: str
    document: str
    keep_until: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A fact that kills sessions. See `domain.session.revoked_by`.

    `subject` is one of session | role | principal | access_key | source_identity | grant | account. `position`
    is its place in the change feed, given by the store. A session dies if any hop of it matches and either its
    `seen` precedes `position` or its issue time precedes `issued_before`. With `block` (until `block_until`, if
    given) the subject gets no new sessions either.
    """

    id: str
    account: str  # the owning account
    subject: str
    value: str
    issued_before: int
    created_at: int
    position: int = 0
    block: bool = False
    block_until: int | None = None
    reason: str = ""
    created_by: str = ""
