"""The directory's look-ups: under which key each view is cached, and what loads it. A hit never suspends.

They decide nothing about staleness or loading: that is `CachedDirectory`, which is built on this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from daypass.domain.directory import OidcProvider, SamlProvider, X509Profile
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
from daypass.stores.cache import MISSING
from daypass.stores.entities import ascii_lower
from daypass.stores.views import Loaded, Views


class Lookups(ABC):
    """The look-ups of `ports.Directory`, over a cache that a subclass keeps."""

    _views: Views

    @abstractmethod
    def _hit(self, key: str) -> Any:
        """The view in the cache, or MISSING."""

    @abstractmethod
    async def _miss(self, key: str, load: Callable[[Reader], Loaded]) -> Any:
        """Loads a view into the cache."""

    async def access_key(self, key_id: str) -> KeyView | None:
        key = f"access_key:{key_id}"
        view: KeyView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.access_key, key_id=key_id))
        return view

    async def user(self, user_id: str) -> PrincipalView | None:
        key = f"user:{user_id}"
        view: PrincipalView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.user, user_id=user_id))
        return view

    async def role(self, account: str, name: str) -> RoleView | None:
        key = f"role_name:{account}:{ascii_lower(name)}"
        view: RoleView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.role, account=account, name=name))
        return view

    async def role_by_id(self, role_id: str) -> RoleView | None:
        key = f"role:{role_id}"
        view: RoleView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.role_by_id, role_id=role_id))
        return view

    async def account(self, account_id: str) -> AccountView | None:
        key = f"account:{account_id}"
        view: AccountView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.account, account_id=account_id))
        return view

    async def managed_policy(self, arn: str) -> ManagedPolicyView | None:
        key = f"policy:{arn}"
        view: ManagedPolicyView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.managed_policy, arn=arn))
        return view

    async def oidc_provider(self, account: str, url: str) -> OidcProvider | None:
        key = f"oidc:{account}:{url}"
        view: OidcProvider | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.oidc_provider, account=account, url=url))
        return view

    async def saml_provider(self, account: str, name: str) -> SamlProvider | None:
        key = f"saml:{account}:{ascii_lower(name)}"
        view: SamlProvider | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.saml_provider, account=account, name=name))
        return view

    async def trust_anchor(self, anchor_id: str) -> TrustAnchorView | None:
        key = f"x509_anchor:{anchor_id}"
        view: TrustAnchorView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.trust_anchor, anchor_id=anchor_id))
        return view

    async def x509_profile(self, profile_id: str) -> X509Profile | None:
        key = f"x509_profile:{profile_id}"
        view: X509Profile | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.x509_profile, profile_id=profile_id))
        return view

    async def policy_content(self, content_hash: str) -> PolicyContentView | None:
        key = f"content:{content_hash}"
        view: PolicyContentView | None = self._hit(key)
        if view is MISSING:
            view = await self._miss(key, partial(self._views.policy_content, content_hash=content_hash))
        return view
