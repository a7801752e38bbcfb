"""The directory: what it holds ready (views), and how it is read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

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
from daypass.domain.policy.model import NamedPolicy
from daypass.domain.session import Hop, Seen, SessionClaims

E = TypeVar("E")
T = TypeVar("T")


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
