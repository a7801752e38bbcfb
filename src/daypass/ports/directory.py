"""The directory: its cached views, how it is read and written, and stored ring keys.

A value derived from a view alone is a cached property of the view. It is not part of the view's value, is not sent to
worker processes, and is dropped with the view when one of its dependencies changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar

from msgspec import Struct, field

from daypass.domain.arn import root_arn
from daypass.domain.claims import CallerDerived, PrincipalKind
from daypass.domain.decision_cache import DecisionCache
from daypass.domain.directory import (
    AccessKey,
    Account,
    Crl,
    Grant,
    KeyStatus,
    ManagedPolicy,
    Role,
    Tags,
    TrustAnchor,
    User,
)
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.trust import CallerLayers
from daypass.sigv4.canonical import Mac

E = TypeVar("E")
T = TypeVar("T")


class KeyHolder(Struct, frozen=True):
    """Values derived from a long-term key alone."""

    active: bool
    gone: bool  # whether the user of the key has been deleted
    identity: tuple[PrincipalKind, str, str, str, str]  # kind, account, ARN, unique id and name
    tags: Tags = ()
    # Derived for each scope, see `sigv4.verify`.
    signing_keys: dict[tuple[str, str, str], Mac] = field(default_factory=dict)
    derived: CallerDerived = field(default_factory=CallerDerived)  # shared by all callers with this key


class KeyView(Struct, frozen=True, dict=True):
    """A long-term key with its secret opened. `user` is None for a root key."""

    key: AccessKey
    secret: str
    user: User | None

    @cached_property
    def holder(self) -> KeyHolder:
        """The owner of the key, if the key may be used."""
        key, user = self.key, self.user
        active = key.status is KeyStatus.ACTIVE
        if user is not None:
            identity = (PrincipalKind.USER, user.account, user.arn, user.id, user.name)
            return KeyHolder(active, False, identity, user.tags)
        identity = (PrincipalKind.ROOT, key.account, root_arn(key.account), key.account, "root")
        return KeyHolder(active, key.owner_id != key.account, identity)


class PrincipalView(Struct, frozen=True, dict=True):
    """A user or role with its policies compiled. `boundary` is None when none is set. A boundary that is set but
    missing denies.
    """

    entity: User | Role
    identity: tuple[NamedPolicy, ...]
    boundary: tuple[NamedPolicy, ...] | None

    @cached_property
    def layers(self) -> CallerLayers:
        """The policy layers of this principal as a caller without session policies."""
        return CallerLayers(self.identity, self.boundary)


class RoleView(Struct, frozen=True, dict=True):
    """A role with its policies compiled. `grants`: the access grants for it that have not ended."""

    role: Role
    trust: NamedPolicy
    bindings: dict[str, str]
    principal: PrincipalView
    grants: tuple[Grant, ...] = ()

    @cached_property
    def decisions(self) -> DecisionCache:
        """Cached decisions that admitted callers to this role."""
        return DecisionCache()

    @cached_property
    def grants_of(self) -> dict[str, tuple[Grant, ...]]:
        """The grants by the principal id of the person, in order of creation."""
        grants: dict[str, tuple[Grant, ...]] = {}
        for grant in sorted(self.grants, key=lambda grant: grant.id):
            grants[grant.principal_id] = (*grants.get(grant.principal_id, ()), grant)
        return grants


class AccountView(Struct, frozen=True):
    account: Account
    guardrails: tuple[tuple[NamedPolicy, ...], ...]
    issuers: tuple[str, ...] | None = None  # the only ones it may trust (`domain.provider_settings`); None: any


class ManagedPolicyView(Struct, frozen=True):
    policy: ManagedPolicy
    document: str  # text of the default version
    hash: str  # SHA-256 of the text, hex


class PolicyContentView(Struct, frozen=True):
    """A stored managed session policy: compiled, with the time until which its text is stored."""

    policy: NamedPolicy
    keep_until: int


class TrustAnchorView(Struct, frozen=True):
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
        """Up to `limit` entities, in ascending `order` (a field; names in AWS's list order), those after `after`. "-id":
        in descending order of `id`.
        """
        ...

    def find_among(
        self, kind: type[E], field: str, values: Sequence[str], *, order: str, any_case: bool = False, **equals: Any
    ) -> list[E]:
        """All entities whose `field` is one of `values`, in ascending order of `order`. For owners whose number of
        entities has a quota. `any_case`: `values` are in lower case, and ASCII letters of each case are the same.
        """
        ...

    def attached_policies(self, account: str) -> list[str]:
        """The ARNs of the managed policies that are attached to principals of an account."""
        ...

    def holders(
        self,
        kind: type[E],
        account: str,
        words: Sequence[str],
        arns: Sequence[str],
        groups: Sequence[str],
        *,
        after: str,
    ) -> tuple[list[E], str]:
        """Users or roles with an inline policy in which one of `words` (in lower case) is, with an attachment of one of
        `arns`, or in one of `groups`; by id, after `after`. The rows of policies that are looked at are bounded: also returns
        the id up to which all were found, "" when there are no more.
        """
        ...

    def count(self, kind: type[Any], **equals: Any) -> int: ...

    def names(self, kind: type[Any], account: str, part: str, limit: int) -> list[str]:
        """The first names of entities of the account that contain `part`, without regard to case. Reads no other column."""
        ...

    def value_at(self, kind: type[Any], field: str, place: int, **equals: Any) -> str:
        """The `field` of the entity with this place, from 0, in its order; "" when there is none. Reads no other column, so
        that an index is enough.
        """
        ...


class Tx(Reader, Protocol):
    """Writes entities in the journal's transaction. Each call also puts the change on the feed, in the same
    transaction.
    """

    def insert(self, entity: Any) -> None:
        """Raises DaypassError(ALREADY_EXISTS) when a unique key is taken."""
        ...

    def insert_if_absent(self, entity: Any) -> bool:
        """Inserts an entity that no cached view depends on; False when a unique key is taken. Cheaper than `insert`."""
        ...

    def replace(self, entity: Any) -> None:
        """Replaces the entity with the same primary key by `entity`. Raises NOT_FOUND when there is none."""
        ...

    def delete(self, entity: Any) -> None:
        """Removes exactly this entity. Raises NOT_FOUND when it does not exist."""
        ...


FOR_EVER: Final = 2**53
"""`verify_until` of keys that open what is stored."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key, wrapped by the key-encryption key. Times in ms; `id` is 16 hex digits."""

    ring: str
    id: str
    wrapped: bytes = dataclass_field(repr=False)
    not_before: int
    sign_until: int
    verify_until: int
    created_at: int
