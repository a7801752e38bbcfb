"""Reads the views of `ports` from one snapshot: collects entities, compiles policies and opens secrets.

It runs on store threads. A view lists the feed keys that it depends on; with a key missing, a change would not
invalidate it. It must read only through the Reader that is passed in.
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from daypass.crypto.seal import Sealer
from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    Crl,
    Grant,
    Group,
    Guardrail,
    InlinePolicy,
    IssuerAllowList,
    ManagedPolicy,
    Membership,
    OAuthClient,
    PasswordPolicy,
    PolicyContent,
    PolicyVersion,
    Role,
    TrustAnchor,
    User,
)
from daypass.domain.policy.compiled import PolicyKind, managed_kind
from daypass.domain.policy.document import PolicyDocument, compile_stored
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.trust import of_every_user
from daypass.ports.directory import (
    AccountView,
    KeyView,
    ManagedPolicyView,
    PolicyContentView,
    PrincipalView,
    Reader,
    RoleView,
    TrustAnchorView,
)
from daypass.stores.cache import MISSING, ViewCache
from daypass.stores.entities import ENTITY_TABLES, ascii_lower

_ALL = 100_000
"""Upper bound for the policies or groups of one principal."""


class Loaded(NamedTuple):
    """A view (None: it does not exist), its dependency keys without its own key, and a second key under which it is
    found. `next`: the key and the loader of the view that whoever has asked for this one asks for next.
    """

    view: Any
    keys: tuple[str, ...] = ()
    alias: str = ""
    next: tuple[str, Callable[[Reader], Loaded]] | None = None


class Views:
    """Loaders of every view.

    Args:
        builtin: text of the managed policies that come with Daypass, by ARN.
    """

    def __init__(self, secrets: Sealer, builtin: Mapping[str, str], compiled: int) -> None:
        self._secrets = secrets
        self._builtin = builtin
        self._compile: Callable[[str, PolicyKind], PolicyDocument] = lru_cache(maxsize=compiled)(compile_stored)

    def access_key(self, reader: Reader, key_id: str) -> Loaded:
        """Raises ValueError when the stored secret does not open."""
        key = reader.get(AccessKey, id=key_id)
        if key is None:
            return Loaded(None)
        root = key.owner_id == key.account
        user = None if root else reader.get(User, id=key.owner_id)
        if not root and user is None:
            return Loaded(None)  # the key of a deleted user is not valid
        secret = self._secrets.open_secret(key.sealed_secret, key.account, key.owner_id).decode("ascii")
        if root:
            return Loaded(KeyView(key, secret, user))
        owner = f"user:{key.owner_id}"
        return Loaded(KeyView(key, secret, user), (owner,), next=(owner, partial(self.user, user_id=key.owner_id)))

    def user(self, reader: Reader, user_id: str) -> Loaded:
        user = reader.get(User, id=user_id)
        return self._user(reader, user, by_name=False) if user is not None else Loaded(None)

    def user_by_name(self, reader: Reader, account: str, name: str) -> Loaded:
        user = reader.get(User, account=account, name=name)
        return self._user(reader, user, by_name=True) if user is not None else Loaded(None)

    def _user(self, reader: Reader, user: User, *, by_name: bool) -> Loaded:
        keys: dict[str, None] = {}
        policies = [*self._policies_of(reader, user.id, keys)]
        for membership in reader.find(Membership, user_id=user.id, order="group_id", limit=_ALL):
            keys[f"group:{membership.group_id}"] = None
            if reader.get(Group, id=membership.group_id) is not None:
                policies += self._policies_of(reader, membership.group_id, keys)
        keys[f"password_policy:{user.account}"] = None
        policies += of_every_user(reader.get(PasswordPolicy, account=user.account))
        view = PrincipalView(user, tuple(policies), self._boundary(reader, user.boundary_arn, keys))
        other = f"user:{user.id}" if by_name else f"user_name:{user.account}:{ascii_lower(user.name)}"
        return Loaded(view, tuple(keys), other)

    def role(self, reader: Reader, account: str, name: str) -> Loaded:
        role = reader.get(Role, account=account, name=name)
        return self._role(reader, role, by_name=True) if role is not None else Loaded(None)

    def role_by_id(self, reader: Reader, role_id: str) -> Loaded:
        role = reader.get(Role, id=role_id)
        return self._role(reader, role, by_name=False) if role is not None else Loaded(None)

    def _role(self, reader: Reader, role: Role, *, by_name: bool) -> Loaded:
        keys: dict[str, None] = {}
        policies = tuple(self._policies_of(reader, role.id, keys))
        principal = PrincipalView(role, policies, self._boundary(reader, role.boundary_arn, keys))
        trust = NamedPolicy("trust", self._compile(role.trust_document, PolicyKind.TRUST))
        keys[f"grants:{role.id}"] = None
        grants = tuple(reader.find(Grant, role_id=role.id, ended_at=0, limit=_ALL))
        other = f"role:{role.id}" if by_name else f"role_name:{role.account}:{ascii_lower(role.name)}"
        return Loaded(RoleView(role, trust, dict(role.trust_bindings), principal, grants), tuple(keys), other)

    def account(self, reader: Reader, account_id: str) -> Loaded:
        account = reader.get(Account, id=account_id)
        if account is None:
            return Loaded(None)
        guardrails = tuple(
            NamedPolicy(guardrail.name, self._compile(guardrail.document, PolicyKind.GUARDRAIL))
            for guardrail in reader.find(Guardrail, account=account_id, order="name", limit=_ALL)
        )
        # One level: as with SCPs on one node in AWS, any guardrail may allow and any may deny.
        listed = reader.get(IssuerAllowList, account=account_id)
        view = AccountView(account, (guardrails,) if guardrails else (), listed.issuers if listed is not None else None)
        return Loaded(view, (f"guardrails:{account_id}", f"issuers:{account_id}"))

    def managed_policy(self, reader: Reader, arn: str) -> Loaded:
        if arn in self._builtin:
            text = self._builtin[arn]
            return Loaded(ManagedPolicyView(_builtin_entity(arn), text, _digest(text)))
        version = _managed(reader, arn)
        if version is None:
            return Loaded(None)
        policy, text = version
        return Loaded(ManagedPolicyView(policy, text, _digest(text)), (f"policy_id:{policy.id}",))

    def trust_anchor(self, reader: Reader, anchor_id: str) -> Loaded:
        anchor = reader.get(TrustAnchor, id=anchor_id)
        if anchor is None:
            return Loaded(None)
        crls = reader.find(Crl, trust_anchor_id=anchor_id, account=anchor.account, order="id", limit=_ALL)
        return Loaded(TrustAnchorView(anchor, tuple(crl for crl in crls if crl.enabled)))

    def document_clients(self, reader: Reader, account: str) -> Loaded:
        """It depends on each listed client by its own key, too."""
        clients = reader.find(OAuthClient, account=account, order="id", limit=_ALL)
        listing = tuple(client for client in clients if '"metadata_documents"' in client.settings)
        return Loaded(listing, tuple(f"oauth_client:{client.id}" for client in listing))

    def entity(self, reader: Reader, kind: type[Any], names: tuple[str, ...], values: tuple[str, ...]) -> Loaded:
        """An entity as it is, by the values of these fields."""
        return Loaded(reader.get(kind, **dict(zip(names, values, strict=True))))

    def policy_content(self, reader: Reader, content_hash: str) -> Loaded:
        content = reader.get(PolicyContent, hash=content_hash)
        if content is None:
            return Loaded(None)
        policy = NamedPolicy(f"session:{content_hash[:12]}", self._compile(content.document, PolicyKind.SESSION))
        return Loaded(PolicyContentView(policy, content.keep_until))

    def _policies_of(self, reader: Reader, owner_id: str, keys: dict[str, None]) -> list[NamedPolicy]:
        keys[f"owner:{owner_id}"] = None
        policies = [
            NamedPolicy(inline.name, self._compile(inline.document, PolicyKind.IDENTITY))
            for inline in reader.find(InlinePolicy, owner_id=owner_id, order="name", limit=_ALL)
        ]
        for attachment in reader.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_ALL):
            policies += self._managed(reader, attachment.policy_arn, keys)
        return policies

    def _boundary(self, reader: Reader, arn: str | None, keys: dict[str, None]) -> tuple[NamedPolicy, ...] | None:
        """A boundary that is set but missing denies, because no grant may pass a missing layer."""
        if arn is None:
            return None
        return self._managed(reader, arn, keys) or (NamedPolicy(arn, self._compile("", PolicyKind.IDENTITY)),)

    def _managed(self, reader: Reader, arn: str, keys: dict[str, None]) -> tuple[NamedPolicy, ...]:
        """The compiled default version; () when the policy is missing, which allows nothing."""
        if arn in self._builtin:
            return (NamedPolicy(arn, self._compile(self._builtin[arn], managed_kind(arn))),)
        keys[f"policy:{arn}"] = None
        found = _managed(reader, arn)
        if found is None:
            return ()
        policy, text = found
        keys[f"policy_id:{policy.id}"] = None
        return (NamedPolicy(arn, self._compile(text, PolicyKind.IDENTITY)),)


def _managed(reader: Reader, arn: str) -> tuple[ManagedPolicy, str] | None:
    policy = reader.get(ManagedPolicy, arn=arn)
    if policy is None:
        return None
    version = reader.get(PolicyVersion, policy_id=policy.id, version=policy.default_version)
    return None if version is None else (policy, version.document)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _builtin_entity(arn: str) -> ManagedPolicy:
    """A policy that comes with Daypass is not stored; its id is made from its ARN, so it is the same everywhere."""
    path, _, name = arn.split(":policy", 1)[1].rpartition("/")
    digest = base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()
    return ManagedPolicy(f"ANPA{digest[:17]}", "aws", arn, name, f"{path}/", 0, 0)


# --- The directory's look-ups: the cache key and the loader of each view


E = TypeVar("E")
V = TypeVar("V")

View: TypeAlias = Coroutine[Any, Any, V]
"""The awaitable result of a look-up."""


class Lookups(ABC):
    """The look-ups of `Directory`, over the cache of a subclass. They touch the database only on a miss; a view is immutable.

    They raise DaypassError(UNAVAILABLE) when the entry is not cached and the database is unavailable, or when the last
    successful poll is older than `max_staleness_seconds`.
    """

    _views: Views
    _cache: ViewCache

    @abstractmethod
    async def _miss(self, key: str, load: Callable[[Reader], Loaded]) -> Any:
        """Loads a view into the cache."""

    def is_loaded(self, key: str) -> bool:
        """Whether a look-up under this key finds its view in memory. It counts as a use."""
        return self._cache.get(key) is not MISSING

    async def _view(self, key: str, load: Callable[..., Loaded], *values: Any) -> Any:
        view = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, lambda reader: load(reader, *values))
        return view

    def access_key(self, key_id: str) -> View[KeyView | None]:
        return self._view(f"access_key:{key_id}", self._views.access_key, key_id)

    def user(self, user_id: str) -> View[PrincipalView | None]:
        return self._view(f"user:{user_id}", self._views.user, user_id)

    def user_by_name(self, account: str, name: str) -> View[PrincipalView | None]:
        return self._view(f"user_name:{account}:{ascii_lower(name)}", self._views.user_by_name, account, name)

    def role(self, account: str, name: str) -> View[RoleView | None]:
        return self._view(f"role_name:{account}:{ascii_lower(name)}", self._views.role, account, name)

    def role_by_id(self, role_id: str) -> View[RoleView | None]:
        return self._view(f"role:{role_id}", self._views.role_by_id, role_id)

    def account(self, account_id: str) -> View[AccountView | None]:
        return self._view(f"account:{account_id}", self._views.account, account_id)

    def managed_policy(self, arn: str) -> View[ManagedPolicyView | None]:
        return self._view(f"policy:{arn}", self._views.managed_policy, arn)

    def trust_anchor(self, anchor_id: str) -> View[TrustAnchorView | None]:
        return self._view(f"x509_anchor:{anchor_id}", self._views.trust_anchor, anchor_id)

    def document_clients(self, account: str) -> View[tuple[OAuthClient, ...]]:
        return self._view(f"document_clients:{account}", self._views.document_clients, account)

    def entity(self, kind: type[E], *values: str) -> View[E | None]:
        mapping = ENTITY_TABLES[kind]
        return self._view(mapping.cache_key(*values), self._views.entity, kind, mapping.feed_keys[0].fields, values)

    def policy_content(self, content_hash: str) -> View[PolicyContentView | None]:
        return self._view(f"content:{content_hash}", self._views.policy_content, content_hash)
