"""The few protocols that operations need, and the one value that carries them (`Env`).

Adapters live in stores, crypto, federation and audit; `server.py` alone builds them. Operations and wire import
only this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from daypass.domain.assertion import Assertion
from daypass.domain.certificate import Certificate
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.directory import (
    AccessKey,
    Account,
    Crl,
    ManagedPolicy,
    OidcProvider,
    Revocation,
    Role,
    SamlProvider,
    TrustAnchor,
    User,
    X509Profile,
)
from daypass.domain.events import Event
from daypass.domain.policy.model import NamedPolicy
from daypass.domain.proof import Proof
from daypass.domain.session import Hop, Seen, SessionClaims
from daypass.domain.value import value

E = TypeVar("E")
T = TypeVar("T")


class Clock(Protocol):
    """Time never goes below the persisted high-water mark (attack A60)."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        ...


class Ids(Protocol):
    """All randomness that ends up in names."""

    def unique(self, prefix: str) -> str:
        """A 21-character unique id: AIDA, AROA, AGPA or ANPA, then 17 of A-Z2-7."""
        ...

    def access_key(self, prefix: str) -> str:
        """A 20-character access key id: AKIA or ASIA, then 16 of A-Z2-7 (80 random bits)."""
        ...

    def secret(self) -> str:
        """A 40-character secret access key."""
        ...

    def seed(self) -> bytes:
        """40 random bytes: the seed of a virtual MFA device."""
        ...

    def session(self) -> str:
        """128 bits as 32 hex digits: 48 of the time in ms, 80 random. In order of time, its index grows at one end."""
        ...

    def request(self) -> str:
        """A UUID of version 7 (RFC 9562): in order of time, for the same reason."""
        ...


# --- The directory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyView:
    """A long-term key with its secret opened. `user` is None for a root key.

    Attributes:
        memo: what others have worked out from this view alone, so that not every request does. It goes with the view.
    """

    key: AccessKey
    secret: str
    user: User | None
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PrincipalView:
    """A user or role with its policies compiled. `boundary` is None when none is set; a set one that is missing denies."""

    entity: User | Role
    identity: tuple[NamedPolicy, ...]
    boundary: tuple[NamedPolicy, ...] | None
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RoleView:
    role: Role
    trust: NamedPolicy
    bindings: dict[str, str]
    principal: PrincipalView
    memo: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AccountView:
    account: Account
    guardrails: tuple[tuple[NamedPolicy, ...], ...]
    issuers: tuple[str, ...] | None = None  # the only ones it may trust (`domain.issuers`); None: any


@dataclass(frozen=True, slots=True)
class ManagedPolicyView:
    policy: ManagedPolicy
    document: str  # text of the default version
    hash: str  # SHA-256 of the text, hex


@dataclass(frozen=True, slots=True)
class PolicyContentView:
    """A kept managed session policy: compiled, with the time until which its text is kept."""

    policy: NamedPolicy
    keep_until: int


@dataclass(frozen=True, slots=True)
class TrustAnchorView:
    """A trust anchor with the CRLs that are enabled for it."""

    anchor: TrustAnchor
    crls: tuple[Crl, ...]


class Reader(Protocol):
    """Reads entities of `domain.directory` in one snapshot. Synchronous: it runs on a store thread.

    `equals` names fields of the entity. Names of users, groups, roles and policies compare without regard to case.
    """

    def get(self, kind: type[E], **equals: Any) -> E | None:
        """The one entity whose fields equal these, or None."""
        ...

    def find(
        self,
        kind: type[E],
        *,
        order: str = "",
        path_prefix: str = "",
        after: str = "",
        limit: int = 1000,
        **equals: Any,
    ) -> list[E]:
        """Up to `limit` entities, in ascending `order` (a field; names in AWS's list order), those after `after`."""
        ...

    def count(self, kind: type[Any], **equals: Any) -> int: ...


class Tx(Reader, Protocol):
    """Writes entities in the journal's transaction. Each call also puts the change on the feed, in the same transaction."""

    def insert(self, entity: Any) -> None:
        """Raises DaypassError(ALREADY_EXISTS) when a unique key is taken."""
        ...

    def replace(self, entity: Any) -> None:
        """Stores `entity` over the one with the same primary key. Raises NOT_FOUND when there is none."""
        ...

    def delete(self, entity: Any) -> None:
        """Removes exactly this entity. Raises NOT_FOUND when it is not there."""
        ...


class Directory(Protocol):
    """The cached directory. Look-ups touch the database only on a miss; a view is immutable.

    Look-ups raise DaypassError(UNAVAILABLE) when the entry is not cached and the database is away, or when the last
    good poll is older than `max_staleness`.
    """

    def seen(self) -> Seen:
        """Take this, with the issued-at time, before reading anything that a session will rest on."""
        ...

    async def access_key(self, key_id: str) -> KeyView | None: ...
    async def user(self, user_id: str) -> PrincipalView | None: ...
    async def role(self, account: str, name: str) -> RoleView | None: ...
    async def role_by_id(self, role_id: str) -> RoleView | None: ...
    async def account(self, account_id: str) -> AccountView | None: ...
    async def managed_policy(self, arn: str) -> ManagedPolicyView | None: ...
    async def oidc_provider(self, account: str, url: str) -> OidcProvider | None: ...
    async def saml_provider(self, account: str, name: str) -> SamlProvider | None: ...
    async def trust_anchor(self, anchor_id: str) -> TrustAnchorView | None: ...
    async def x509_profile(self, profile_id: str) -> X509Profile | None: ...
    async def policy_content(self, content_hash: str) -> PolicyContentView | None: ...

    async def refresh(self) -> bool:
        """One coalesced poll of the change feed; True when it had moved. Call it before refusing from the cache."""
        ...

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        """The revocation that killed this session, if any."""
        ...

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """A blocking revocation in force on anyone in these hops: they get no new sessions."""
        ...

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Runs `query` in one snapshot on a store thread, straight from the database."""
        ...


# --- The record ----------------------------------------------------------------------------------------------------


class Journal(Protocol):
    """The only way to write. Whatever it accepted is durable, and on the record, when it returns."""

    async def commit(self, event: Event, session: SessionClaims | None = None) -> None:
        """Event and session row in one transaction. Raises DaypassError(UNAVAILABLE) when it could not be made durable."""
        ...

    async def write(self, change: Callable[[Tx], tuple[T, Event]], session: SessionClaims | None = None) -> T:
        """Runs `change` on the writer thread; what it wrote, the feed entries and its event are one transaction.

        So is the row of `session`, where the change gives one out (a one-time proof is redeemed as its session is made).

        A DaypassError raised by `change` undoes that change alone and is raised here (the caller records it).
        """
        ...


# --- Reading the record --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads the record: the account, and whether it is the operator of the installation (who sees everything)."""

    account: str
    operator: bool = False


@dataclass(frozen=True, slots=True)
class LogView:
    """One log: a process's, from its start to its end. Its last record is `seq`; hashes are hex."""

    log: str
    installation: str
    node: str
    opened_at: int
    seq: int
    chain: str
    closed: bool  # ended by log.closed; a running log and one that was cut off are not


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record, as far as the viewer may see it.

    `bytes` for the owner of what was acted on and for the operator: enough to verify the leaf. For the actor's account
    `body` alone, without decision and detail. For everyone else neither: the leaf still verifies the chain.
    """

    log: str
    seq: int
    at: int  # ms
    leaf: str  # 64 hex digits
    chain: str  # 64 hex digits
    body: Mapping[str, Any] | None
    bytes: bytes | None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records to search for, newest first; what is empty matches everything. Times in ms, `until` exclusive.

    `before` is where the last page ended: (at, log, seq) of its last record.
    """

    account: str = ""  # owner or actor
    type: str = ""
    operation: str = ""
    request_id: str = ""
    session_id: str = ""  # issued or acted on
    access_key_id: str = ""  # the actor's
    error: str = ""
    since: int | None = None
    until: int | None = None
    before: tuple[int, str, int] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to list, newest first; what is empty or None matches everything.

    `principal_id` is a role's or user's unique id; `root_principal_id` finds whatever stems from someone, down all
    chains. `before` is where the last page ended: (issued_at, session_id).
    """

    account: str = ""
    session_id: str = ""
    principal_id: str = ""
    root_principal_id: str = ""
    active: bool | None = None  # neither expired nor revoked
    revoked: bool | None = None
    before: tuple[int, str] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as the record has it. `claims` hold what is needed to tell who it is and what ends it, no more."""

    claims: SessionClaims
    log: str  # with `seq`: the record of its issue
    seq: int
    depth: int
    revoked_by: Revocation | None
    active: bool


class Records(Protocol):
    """Reads the record and the sessions. Raises DaypassError(UNAVAILABLE) when the database is away."""

    async def logs(self) -> list[LogView]:
        """Every log, oldest first."""
        ...

    async def records(self, viewer: Viewer, log: str, after: int = -1, limit: int = 1000) -> list[RecordView]:
        """The records of a log behind `after`, in order and without a gap: what verification takes."""
        ...

    async def follow(self, viewer: Viewer, cursor: Mapping[str, int], limit: int = 1000) -> list[RecordView]:
        """Records of any log behind its place in `cursor` (log: seq; absent: the whole log), by log and seq.

        Nothing is passed over, however late it was committed. Records that the viewer may not see have no body.
        """
        ...

    async def search(self, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
        """Records that the viewer may see, newest first."""
        ...

    async def sessions(self, viewer: Viewer, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
        """Sessions of the viewer's account (the operator: of all), newest first, and the `before` of the next page.

        The page may hold fewer than `limit` and still have a next one.
        """
        ...


# --- Secrets -------------------------------------------------------------------------------------------------------


class Sealer(Protocol):
    """Seals sessions, messages and stored secrets. Ring keys never leave it."""

    def seal(self, claims: SessionClaims, minimum_size: int = 0) -> str:
        """The session token: base64, bound to the access key id of the last hop. At least `minimum_size` characters."""
        ...

    async def open(self, unverified_token: str, access_key_id: str) -> SessionClaims:
        """The claims of a token. Raises DaypassError(UNKNOWN_CREDENTIALS) when anything about it is wrong.

        Expiry and revocation are not checked here.
        """
        ...

    def derivation_key(self) -> str:
        """The id of the derivation-ring key to put into new claims."""
        ...

    async def session_secret(self, claims: SessionClaims) -> str:
        """The secret access key of a session, derived, never stored."""
        ...

    def seal_message(self, account: str, payload: bytes) -> str:
        """An encoded authorization message."""
        ...

    async def open_message(self, unverified_message: str) -> tuple[str, bytes]:
        """(account, payload). Raises DaypassError(INVALID_AUTHORIZATION_MESSAGE)."""
        ...

    def seal_secret(self, plaintext: bytes, account: str, owner_id: str) -> bytes: ...

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        """Raises ValueError when it was sealed for another owner or was altered."""
        ...


# --- Tokens of other issuers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's public keys, as a JWKS (RFC 7517): its bytes, and their SHA-256 in hex, by which parsed keys are kept."""

    jwks: bytes
    hash: str


class IssuerKeys(Protocol):
    """Where the keys of issuers come from: settings, files, the network, a cache of either."""

    async def keys(self, provider: OidcProvider, kid: str, now: int) -> KeySet:
        """The keys of `provider` at `now` (ms), fetched anew within limits when none is named `kid` ("": any will do).

        The set need not hold `kid`. Raises DaypassError(IDP_COMMUNICATION) when there are no keys to be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """How it stands with a provider's keys. Times in ms, 0: never.

    Attributes:
        kind: where they come from: static | file | url | discovery.
        place: the file or URL.
        keys: kid, kty, alg, crv of each.
        fetched_at: when they were last fetched well; due_at: when they will be fetched again; usable_until: how long they
            serve if that keeps failing.
        tried_at, failed_at, error: the last attempt; error is "" when it went well.
        skew_ms: the issuer's clock minus ours, None when it is not known.
    """

    kind: str
    place: str
    keys: tuple[Mapping[str, str], ...]
    fetched_at: int = 0
    due_at: int = 0
    usable_until: int = 0
    tried_at: int = 0
    failed_at: int = 0
    error: str = ""
    skew_ms: int | None = None


class IssuerStatuses(Protocol):
    """Tells operators how it stands with the keys of issuers."""

    async def status(self, provider: OidcProvider, now: int, *, refresh: bool = False) -> IssuerStatus:
        """As this process has it. `refresh` fetches anew, unless that was done a moment ago. Raises IDP_COMMUNICATION."""
        ...

    async def fault(self, provider: OidcProvider) -> str:
        """What is wrong with where its settings say that its keys are, as far as that shows without fetching; or ""."""
        ...


class UnverifiedToken(Protocol):
    """A token that has the form of one. Nothing about it has been verified."""

    @property
    def unverified_url(self) -> str:
        """The URL of the provider that it claims to come from, as `OidcProvider.url` has it."""
        ...

    @property
    def unverified_issuer(self) -> str:
        """The issuer as the token names it."""
        ...

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """What it says. For those who look into why a token is refused, and for nothing else."""
        ...


class TokenVerifier(Protocol):
    """Verifies tokens of OpenID Connect providers."""

    def read(self, unverified_text: str) -> UnverifiedToken:
        """The token's form. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
        ...

    async def verify(self, provider: OidcProvider, token: UnverifiedToken, now: int) -> Proof:
        """What `provider` says in a token that `read` gave, at `now` (ms).

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
        """
        ...


# --- Federation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SamlMetadataView:
    """What a SAML identity provider's metadata says of it. `certificates` are those of its signing keys, DER."""

    entity_id: str
    certificates: tuple[bytes, ...]
    valid_until: int = 0  # ms; 0: it does not say
    sso_url: str = ""  # where a browser brings an AuthnRequest (HTTP-Redirect binding); "" when it has none


class SamlMetadata(Protocol):
    """Reads metadata documents of SAML identity providers."""

    def read(self, unverified_document: str) -> SamlMetadataView:
        """Raises ValueError, with the reason in words for whoever wrote the document."""
        ...

    def check_private_key(self, unverified_pem: str) -> None:
        """Raises ValueError, with the reason, when this is no key (PEM) that could decrypt assertions."""
        ...


# --- Certificates --------------------------------------------------------------------------------------------------


class CertificateVerifier(Protocol):
    """X.509. Refusals are `domain.certificate.CertificateRefused`, whose message is for the record alone."""

    async def prepare(self, crls: Sequence[bytes]) -> None:
        """Reads CRLs that are new without holding up the event loop. It refuses nothing."""
        ...

    def serial(self, unverified_der: bytes) -> int:
        """The serial number of a certificate."""
        ...

    def check_signature(self, unverified_der: bytes, algorithm: str, signature: bytes, message: bytes) -> None:
        """Returns if the certificate's key signed `message`: "RSA" (PKCS #1 1.5) or "ECDSA", with SHA-256."""
        ...

    def verify(
        self, anchors: str, crls: Sequence[bytes], unverified_der: bytes, unverified_chain: Sequence[bytes], now: int
    ) -> Certificate:
        """The certificate, if a valid path leads from it to one of `anchors` (PEM) at `now` (ms) and no CRL forbids it."""
        ...

    def check_anchors(self, unverified_pem: str) -> None:
        """Returns if these certificates (PEM) may be a trust anchor."""
        ...

    def check_crl(self, unverified_pem: bytes, anchors: str) -> None:
        """Returns if this CRL is by one of `anchors` and can be obeyed."""
        ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """A certificate that asked for a session: what the record of its subject keeps of it. `failed`: it got none."""

    account: str
    region: str
    subject_id: str
    certificate: Certificate
    at: int  # ms
    failed: bool = False
    properties: tuple[tuple[str, str], ...] = ()


class Sightings(Protocol):
    """Takes sightings down off the request's path, as many as it can hold; what is over that is lost, and no more."""

    def note(self, sighting: Sighting) -> None: ...


@dataclass(frozen=True, slots=True)
class SamlArrival:
    """How a SAML response came. `url`: our address that a browser brought it to; "": it is a parameter of a call.

    `request_id`: the request of ours that it must answer; "": it must answer none of ours.
    """

    url: str = ""
    request_id: str = ""


class SamlVerifier(Protocol):
    """The SAML 2.0 service provider: verifies responses, makes requests, tells who it is."""

    entity_id: str  # "" while the installation has no public address

    async def verify(
        self, unverified_response: str, provider: SamlProvider | None, now: int, arrival: SamlArrival
    ) -> Assertion:
        """The facts of a response (base64), all of them signed. `now` in ms.

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM. Without a provider, and
        with one that did not sign this, the refusal is the same.
        """
        ...

    async def unverified_providers(self, unverified_response: str) -> tuple[str, ...]:
        """ARNs of the providers that a response claims to come from: where to look, never whom to trust.

        Raises DaypassError(INVALID_IDENTITY_TOKEN).
        """
        ...

    async def check_standing(self, assertion: Assertion, provider: SamlProvider, now: int) -> None:
        """Whether `provider`, as it is now, would still vouch for an assertion that was verified a while ago.

        Raises DaypassError(INVALID_IDENTITY_TOKEN) when it has another issuer, or no longer the key that signed.
        """
        ...

    def acs_url(self, provider: SamlProvider | None = None) -> str:
        """Where browsers bring responses: one address for all providers, or this provider's own."""
        ...

    def request_url(self, provider: SamlProvider, request_id: str, relay_state: str, now: int) -> str:
        """Where a browser starts to log in, with our AuthnRequest; "" when the provider has no such address."""
        ...

    async def metadata(self, provider: SamlProvider | None = None) -> bytes:
        """Our own metadata; with a provider, its address and the keys that its assertions may be encrypted for."""
        ...


# --- All of them ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings that operations obey. Defaults are the product's."""

    chain_depth: int = 4
    token_bytes: int = 4096
    regions: frozenset[str] = frozenset()  # empty: any region name is accepted in the credential scope
    skew_ms: int = 300_000
    public_url: str = "http://127.0.0.1:8700"  # where others reach the installation


@dataclass(frozen=True, slots=True)
class Env:
    """Everything an operation may use. This is all the dependency injection there is."""

    clock: Clock
    ids: Ids
    directory: Directory
    journal: Journal
    sealer: Sealer
    limits: Limits
    records: Records | None = None  # None where nothing reads the record
    builtin: Mapping[str, str] | None = None  # built-in managed policies, ARN to text; None: those of `daypass.data`
    saml_metadata: SamlMetadata | None = None  # None where no SAML provider is made
    tokens: TokenVerifier | None = None  # None where no tokens are taken
    issuers: IssuerStatuses | None = None  # None where no keys are fetched
    certificates: CertificateVerifier | None = None  # None: no X.509 sessions
    sightings: Sightings | None = None
    saml: SamlVerifier | None = None  # None where no SAML response is taken


@value
class Call:
    """One authenticated request on its way through the operations."""

    caller: Caller
    facts: RequestFacts
    now: int  # ms; when the request was authenticated
