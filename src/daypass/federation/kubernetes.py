"""Asks a Kubernetes cluster whether a service account's token is still valid: TokenReview (authentication.k8s.io/v1).

A signature shows that a token was valid when issued; the cluster knows whether its pod has been deleted since (attack
A35). While the API server is unavailable, tokens are refused (A37). Only a positive result is cached, for seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.claims import secret_owner
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.provider_settings import ProviderSettings, TokenReview
from daypass.federation.fetch import FetchError, Order
from daypass.federation.jwks import read_bounded
from daypass.federation.sources import FileError, Getter, open_bearer, read_token

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_MAX_KEPT: Final = 10_000


class TokenReviews:
    """A `federation.oidc.FurtherCheck`. It reviews tokens of providers whose settings require it, and accepts all
    others.

    Args:
        getter: provides the fetcher, secrets and files.
    """

    def __init__(self, getter: Getter) -> None:
        self._getter = getter
        self._good: OrderedDict[bytes, int] = OrderedDict()
        self._reviews: dict[bytes, asyncio.Task[None]] = {}

    async def __call__(
        self, provider: OidcProvider, settings: ProviderSettings, token: str, claims: Mapping[str, Any], now: int
    ) -> None:
        """Raises DaypassError: INVALID_IDENTITY_TOKEN when the cluster rejects the token, IDP_COMMUNICATION when it
        does not respond.
        """
        review = settings.token_review
        if review is None:
            return
        key = hashlib.sha256(f"{provider.account}\0{provider.url}\0{provider.settings}\0{token}".encode()).digest()
        if now < self._good.get(key, 0):
            return
        review_task = self._reviews.get(key)
        if review_task is None:
            review_task = self._reviews[key] = asyncio.create_task(
                self._review(provider, settings, review, token, claims)
            )
            review_task.add_done_callback(lambda task: self._forget(key, task))
        await asyncio.shield(review_task)
        self._good[key] = now + review.cache_seconds * 1000
        self._good.move_to_end(key)
        if len(self._good) > _MAX_KEPT:
            self._good.popitem(last=False)

    def _forget(self, key: bytes, task: asyncio.Task[None]) -> None:
        del self._reviews[key]
        if not task.cancelled():
            task.exception()  # the caller may have been cancelled

    async def _review(
        self,
        provider: OidcProvider,
        settings: ProviderSettings,
        review: TokenReview,
        token: str,
        claims: Mapping[str, Any],
    ) -> None:
        spec = {"token": token, "audiences": list(provider.client_ids)}
        question = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            order = Order(
                review.url.rstrip("/") + PATH,
                body=json.dumps(question).encode(),
                bearer=await self._bearer(provider, review),
                ca_pem=settings.ca_pem,
                allow_private=settings.allow_private_networks or self._getter.allow_private,
                allow_http=settings.allow_http,
                owner=f"{provider.account}/reviews",
            )
            answer = read_bounded((await self._getter.fetcher.fetch(order)).body)
        except (FetchError, FileError, ValueError) as error:
            raise _no_answer(provider, str(error)) from None
        _check(provider, answer, claims)

    async def _bearer(self, provider: OidcProvider, review: TokenReview) -> str:
        if review.bearer_file:
            return await asyncio.to_thread(read_token, self._getter.files, review.bearer_file)
        owner = secret_owner(provider.url, "token_review.bearer")
        return open_bearer(self._getter.sealer, review.bearer, provider.account, owner)


def _check(provider: OidcProvider, answer: Any, claims: Mapping[str, Any]) -> None:
    """The cluster must confirm the same service account as the token, for one of our audiences."""
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("kind") != "TokenReview":
        raise _no_answer(provider, "the answer is not a TokenReview")
    if status.get("authenticated") is not True:
        raise _refused(provider, str(status.get("error", ""))[:256] or "not authenticated")
    user, audiences = status.get("user"), status.get("audiences")
    if not isinstance(user, dict) or user.get("username") != claims.get("sub"):
        raise _refused(provider, "the cluster vouches for somebody else")
    # An authenticator that knows no audiences names none: it has not looked at the token's (Kubernetes API,
    # TokenReview).
    if not isinstance(audiences, list) or not any(audience in provider.client_ids for audience in audiences):
        raise _refused(provider, "the cluster does not vouch for one of the provider's client ids")


def _refused(provider: OidcProvider, why: str) -> DaypassError:
    return DaypassError(
        ErrorKind.IDP_REJECTED_CLAIM,
        "The cluster does not accept the token: its pod or service account may be gone.",
        private={"account": provider.account, "provider": provider.url, "token_review": why},
    )


def _no_answer(provider: OidcProvider, why: str) -> DaypassError:
    return DaypassError(
        ErrorKind.IDP_COMMUNICATION,
        "The cluster that issued the token could not be asked whether it still holds.",
        private={"account": provider.account, "provider": provider.url, "token_review": why},
    )
