"""Event streams of the Shared Signals Framework, and the security events that wait in them. Never on the feed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventStream:
    """Where a receiver gets the security events of an account.

    Attributes:
        created_by: ARN of the principal that created it.
        method: push (RFC 8935) or poll (RFC 8936).
        endpoint_url: of a push stream; "" for poll.
        sealed_secret: the Authorization header of a push stream, sealed by the storage ring; b"": none.
        event_types: the types that the receiver requested, of those that are supported.
        delivery_status: enabled, paused or disabled. `reason`: why, as the receiver or the server wrote it.
        position: the feed position up to which the revocations of the account have been queued.
        verified_at: ms; the last verification event that the receiver requested.
        next_at: ms; when events are pushed next; 0: none waits.
        failures: attempts to push that failed since the last success.
    """

    id: str  # 32 hex digits
    account: str
    created_by: str
    description: str
    method: str
    endpoint_url: str
    sealed_secret: bytes
    event_types: tuple[str, ...]
    delivery_status: str
    reason: str
    position: int
    created_at: int
    updated_at: int
    verified_at: int = 0
    next_at: int = 0
    failures: int = 0

    @property
    def arn(self) -> str:
        """Its ARN, which is the audience of its SETs."""
        return f"arn:aws:daypass::{self.account}:event-stream/{self.id}"


@dataclass(frozen=True, slots=True)
class RemovedSubject:
    """A subject whose events the receiver does not want. `digest`: SHA-256 of `subject` (canonical JSON), hex."""

    stream_id: str
    digest: str
    account: str
    subject: str
    created_at: int


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """A SET that waits in a stream, was delivered, or is dead.

    Attributes:
        id: its `jti`, 32 hex digits in order of time.
        event: the type of the event.
        document: its claims without `jti`, JSON. It is signed when it is sent, by the key that signs then.
        outcome: "" while it waits; "delivered" or "dead".
        error: why the last attempt failed, or what the receiver answered.
    """

    id: str
    account: str
    stream_id: str
    event: str
    document: str
    created_at: int
    outcome: str = ""
    attempts: int = 0
    finished_at: int = 0
    error: str = ""
