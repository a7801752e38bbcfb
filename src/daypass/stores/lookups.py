"""The directory's look-ups: the cache key and the loader of each view. A cache hit never suspends.

Staleness and loading are decided in `Directory`, which is built on this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from daypass.domain.directory import OAuthClient
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
from daypass.stores.views import Loaded, Views

E = TypeVar("E")
V = TypeVar("V")

View: TypeAlias = Coroutine[Any, Any, V]
"""What a look-up returns, to be awaited."""


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
