"""The directory's look-ups: the cache key and the loader of each view. A cache hit never suspends.

Staleness and loading are decided in `CachedDirectory`, which is built on this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from daypass.domain.directory import OAuthClient
from daypass.ports import (
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
from daypass.stores.views import Loaded, Views

E = TypeVar("E")


class Lookups(ABC):
    """The look-ups of `ports.Directory`, over the cache of a subclass."""

    _views: Views
    _cache: ViewCache

    @abstractmethod
    async def _miss(self, key: str, load: Callable[[Reader], Loaded]) -> Any:
        """Loads a view into the cache."""

    async def access_key(self, key_id: str) -> KeyView | None:
        key = f"access_key:{key_id}"
        view: KeyView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.access_key, key_id=key_id))
        return view

    async def user(self, user_id: str) -> PrincipalView | None:
        key = f"user:{user_id}"
        view: PrincipalView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.user, user_id=user_id))
        return view

    async def user_by_name(self, account: str, name: str) -> PrincipalView | None:
        key = f"user_name:{account}:{ascii_lower(name)}"
        view: PrincipalView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.user_by_name, account=account, name=name))
        return view

    async def role(self, account: str, name: str) -> RoleView | None:
        key = f"role_name:{account}:{ascii_lower(name)}"
        view: RoleView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.role, account=account, name=name))
        return view

    async def role_by_id(self, role_id: str) -> RoleView | None:
        key = f"role:{role_id}"
        view: RoleView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.role_by_id, role_id=role_id))
        return view

    async def account(self, account_id: str) -> AccountView | None:
        key = f"account:{account_id}"
        view: AccountView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.account, account_id=account_id))
        return view

    async def managed_policy(self, arn: str) -> ManagedPolicyView | None:
        key = f"policy:{arn}"
        view: ManagedPolicyView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.managed_policy, arn=arn))
        return view

    async def trust_anchor(self, anchor_id: str) -> TrustAnchorView | None:
        key = f"x509_anchor:{anchor_id}"
        view: TrustAnchorView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.trust_anchor, anchor_id=anchor_id))
        return view

    async def document_clients(self, account: str) -> tuple[OAuthClient, ...]:
        key = f"document_clients:{account}"
        view: tuple[OAuthClient, ...] = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.document_clients, account=account))
        return view

    async def entity(self, kind: type[E], *values: str) -> E | None:
        mapping = ENTITY_TABLES[kind]
        key = mapping.cache_key(*values)
        view: E | None = self._cache.get(key)
        if view is MISSING:
            equals = dict(zip(mapping.feed_keys[0].fields, values, strict=True))
            view = await self._miss(key, partial(self._views.entity, kind=kind, equals=equals))
        return view

    async def policy_content(self, content_hash: str) -> PolicyContentView | None:
        key = f"content:{content_hash}"
        view: PolicyContentView | None = self._cache.get(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.policy_content, content_hash=content_hash))
        return view
