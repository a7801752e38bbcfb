"""Records that later decisions and reports need: last use, reports, replay entries, revocations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastUse:
    """The last call of a principal or a long-term key, with a resolution of a minute (`audit.usage`). Never on the feed.

    `subject` is the unique id of a user or role, the account id of a root, or the id of a long-term key. `operation` is
    "iam:CreateRole"; for a key it is only the service.
    """

    subject: str
    operation: str
    account: str
    at: int
    region: str


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """The latest credential report of an account: its CSV, deflated. Never on the feed."""

    account: str
    created_at: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class AccessReport:
    """A job of GenerateServiceLastAccessedDetails with its results, frozen (JSON, deflated). Never on the feed."""

    id: str  # a UUID: the JobId
    account: str
    owner_id: str  # the unique id of the requester; only it may read the job
    arn: str  # of a user, group, role or managed policy
    granularity: str  # SERVICE_LEVEL | ACTION_LEVEL
    created_at: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class ReplayEntry:
    """A one-time value that was used. The first insert consumes it. Never on the change feed.

    `purpose` and `id` are unique together. `id` is a digest when the value is long or secret.
    """

    purpose: str  # "jwt" | "saml" | "totp" | …
    id: str
    account: str
    at: int
    expires_at: int  # ms; the value itself expires then, so the entry may be deleted


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """The text of a managed session policy when a session was issued, by its SHA-256 in hex.

    It is stored until the last session that names it expires. A missing text means deny, so that a later edit of the
    managed policy can never widen a session.
    """

    hash: str
    account: str
    document: str
    keep_until: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A record that ends sessions. See `domain.revocation_index.revoked_by`.

    `subject` is one of session | role | principal | access_key | source_identity | grant | client | account. `position` is
    its position in the change feed, which the store assigns. A session ends if any hop of it matches and either its `seen`
    precedes `position` or its issue time precedes `issued_before`. With `block` (until `block_until`, if set) the
    subject also gets no new sessions.
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

    def blocks_at(self, now: int) -> bool:
        """Whether the subject gets no new sessions at `now` (ms)."""
        return self.block and (self.block_until is None or self.block_until > now)
