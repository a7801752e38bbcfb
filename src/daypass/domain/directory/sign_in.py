"""Sign-in by browser: sessions, what people prove themselves with besides passwords and codes, and remembered consents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser in which a person is signed in. Times in ms.

    `id` is the SHA-256 of the cookie's value in hex: the table holds nothing that can be used as a cookie.
    `token` is the sealed session (`domain.session.SessionClaims`) that the sign-in issued, bound to `access_key_id`.
    It gives no access without the secret key, which is never derived for it.
    """

    id: str
    session_id: str
    account: str
    principal_id: str
    created_at: int
    used_at: int  # with a resolution of a tenth of the idle timeout
    expires_at: int  # the absolute timeout
    access_key_id: str
    token: str
    source_ip: str
    user_agent: str
    proof: str = ""  # of a person of an identity provider: the verified facts (`domain.claims.Proof`) as JSON
    clients: tuple[str, ...] = ()  # those that are told when it ends (OpenID Connect Back-Channel Logout 1.0)


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential of a user: a passkey or a security key. Times in ms.

    Source: W3C Web Authentication Level 3, 4 ("credential record").
    """

    id: str  # the credential id, base64url without padding
    account: str
    user_id: str
    name: str  # the user's name for it, unique for the user
    created_at: int
    public_key: bytes  # a COSE key (RFC 9052)
    sign_count: int  # of the last assertion; 0: the authenticator does not count
    aaguid: str  # the model of the authenticator, as a UUID; all zeros when it does not say
    transports: tuple[str, ...] = ()
    backed_up: bool = False  # synchronised to other devices of the person
    used_at: int = 0
    blocked_at: int = 0  # when a copy was detected by the signature counter; it is not accepted since


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code of a user that has not been used. `digest`: its SHA-256 in hex; a code has 80 random bits."""

    user_id: str
    digest: str
    account: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent of a person to one client, for exactly one request, so that the person is not asked again.

    `id` is a digest of the person, the client as it was then, and the request (`operations.oauth.consent`). `person_id` is
    that of the person's browser sessions. The others say what was consented to, for people.
    """

    id: str
    account: str
    person_id: str
    client_id: str
    created_at: int
    expires_at: int
    role: str
    scope: str
    audiences: str


# --- Event streams of the Shared Signals Framework, and the security events that wait in them


@dataclass(frozen=True, slots=True)
class EventStream:
    """A stream of an account's security events for a receiver."""

    id: str  # 32 hex digits
    account: str
    created_by: str  # ARN of the principal that created it
    description: str
    method: str  # push (RFC 8935) or poll (RFC 8936)
    endpoint_url: str  # of a push stream; "" for poll
    sealed_secret: bytes  # the Authorization header of a push stream, sealed by the storage ring; b"": none
    event_types: tuple[str, ...]  # the types that the receiver requested, of those that are supported
    # delivery_status: enabled, paused or disabled. `reason`: why, as the receiver or the server wrote it.
    delivery_status: str
    reason: str
    position: int  # the feed position up to which the revocations of the account have been queued
    created_at: int
    updated_at: int
    verified_at: int = 0  # ms; the last verification event that the receiver requested
    next_at: int = 0  # ms; when events are pushed next; 0: none waits
    failures: int = 0  # attempts to push that failed since the last success

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
    """A SET that waits in a stream, was delivered, or is dead."""

    id: str  # its `jti`, 32 hex digits in order of time
    account: str
    stream_id: str
    event: str  # the type of the event
    document: str  # its claims without `jti`, JSON. It is signed when it is sent, by the key that signs then
    created_at: int
    outcome: str = ""  # "" while it waits; "delivered" or "dead"
    attempts: int = 0
    finished_at: int = 0
    error: str = ""  # why the last attempt failed, or what the receiver answered
