"""Sign-in of people at an OpenID Connect provider, and TokenReview of Kubernetes.

It verifies nothing that a provider says of a person: the ID token goes to the verifier of all tokens. The client secret is
sent only to the token endpoint that the issuer's own discovery document names.
Sources: OpenID Connect Discovery 1.0, 4; RFC 6749, 2.3.1 and 4.1.3; RFC 7636, 4.5; RFC 9207, 3.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from daypass.domain.claims import secret_owner
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.provider_settings import BrowserSignIn, ProviderSettings, TokenReview, issuer_of, parse_settings
from daypass.federation.fetch import Fetched, FetchError, Order, parse_url
from daypass.federation.jwks import read_bounded
from daypass.federation.sources import FileError, Getter, open_bearer, read_token
from daypass.ports.certificates import ProviderEndpoints, ProviderTokens

_DISCOVERY: Final = "/.well-known/openid-configuration"
_LONGEST_MS: Final = 3_600_000
_FAILED_MS: Final = 10_000
"""For this time after a failure, nobody asks the provider again: anonymous visitors cause these fetches."""
_MAX_CACHED: Final = 1_000  # cached documents
_MAX_TOKEN: Final = 65_536
_FORM: Final = ("content-type", "application/x-www-form-urlencoded")
_URL = re.compile(r"[!-~]{1,2048}")


class SignInProviders:
    """Speaks to OpenID Connect providers for the sign-in of people, by the fetcher of issuers' keys."""

    def __init__(self, getter: Getter) -> None:
        self._getter = getter
        self._cache: OrderedDict[OidcProvider, tuple[int, ProviderEndpoints | FetchError | ValueError]] = OrderedDict()

    async def endpoints(self, provider: OidcProvider, now: int) -> ProviderEndpoints:
        """The endpoints of a provider at `now` (ms), from a cache of at most an hour. Raises DaypassError(IDP_COMMUNICATION).

        A changed provider is another key of the cache.
        """
        cached = self._cache.get(provider)
        if cached is None or now >= cached[0]:
            cached = await self._discover(provider, now)
            self._cache[provider] = cached
            self._cache.move_to_end(provider)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        if isinstance(cached[1], Exception):
            raise _failed(provider, str(cached[1]))
        return cached[1]

    async def _discover(
        self, provider: OidcProvider, now: int
    ) -> tuple[int, ProviderEndpoints | FetchError | ValueError]:
        settings = parse_settings(provider.settings)
        issuer = issuer_of(provider.url, settings)
        base = issuer if issuer.startswith(("https://", "http://")) else f"https://{provider.url}"
        try:
            answer = await self._fetch(provider, settings, Order(base.removesuffix("/") + _DISCOVERY))
            provider_endpoints = _endpoints(answer.body, issuer, allow_http=settings.allow_http)
        except (FetchError, ValueError) as error:
            return now + _FAILED_MS, error
        lifetime = _LONGEST_MS if answer.max_age is None else min(answer.max_age * 1000, _LONGEST_MS)
        return now + max(lifetime, _FAILED_MS), provider_endpoints

    async def redeem(
        self, provider: OidcProvider, endpoints: ProviderEndpoints, code: str, verifier: str, redirect_uri: str
    ) -> ProviderTokens:
        """The tokens for an authorization code (RFC 6749, 4.1.3). Raises DaypassError(IDP_COMMUNICATION)."""
        settings = parse_settings(provider.settings)
        chosen = settings.sign_in
        if chosen is None:
            raise _failed(provider, "people of this provider cannot sign in")
        try:
            secret = open_bearer(
                self._getter.sealer,
                chosen.client_secret,
                provider.account,
                secret_owner(provider.url, "sign_in.client_secret"),
            )
            parameters, headers = _credentials(chosen, secret, endpoints)
            parameters |= {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            }
            order = Order(endpoints.token, body=urlencode(parameters).encode("ascii"), headers=headers)
            answer = read_bounded((await self._fetch(provider, settings, order)).body)
        except (FetchError, ValueError) as error:
            raise _failed(provider, str(error)) from None
        return _tokens(provider, answer)

    async def _fetch(self, provider: OidcProvider, settings: ProviderSettings, order: Order) -> Fetched:
        ruled = Order(
            order.url,
            body=order.body,
            headers=order.headers,
            ca_pem=settings.ca_pem,
            allow_private=settings.allow_private_networks or self._getter.allow_private,
            allow_http=settings.allow_http,
            owner=f"{provider.account}/sign-in",
        )
        return await self._getter.fetcher.fetch(ruled)


def _endpoints(body: bytes, issuer: str, *, allow_http: bool) -> ProviderEndpoints:
    """Reads a discovery document of exactly this issuer. Raises ValueError, FetchError."""
    document = read_bounded(body)
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError(f"the discovery document is not that of {issuer}")
    authorization, token = (_url(document, name) for name in ("authorization_endpoint", "token_endpoint"))
    for url in (authorization, token):
        parse_url(url, allow_http=allow_http)
    methods = document.get("token_endpoint_auth_methods_supported")
    in_body = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
    named = document.get("authorization_response_iss_parameter_supported") is True
    return ProviderEndpoints(issuer, authorization, token, named, in_body)


def _url(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ValueError(f"the discovery document names no usable {name}")
    return value


def _credentials(
    chosen: BrowserSignIn, secret: str, endpoints: ProviderEndpoints
) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """How Daypass authenticates as a client: parameters and headers."""
    if not secret:
        return {"client_id": chosen.client_id}, (_FORM,)
    if endpoints.secret_in_body:
        return {"client_id": chosen.client_id, "client_secret": secret}, (_FORM,)
    pair = f"{quote_plus(chosen.client_id)}:{quote_plus(secret)}"
    basic = base64.b64encode(pair.encode("ascii")).decode("ascii")
    return {}, (_FORM, ("authorization", f"Basic {basic}"))


def _tokens(provider: OidcProvider, answer: Any) -> ProviderTokens:
    members = answer if isinstance(answer, dict) else {}
    id_token, access_token = members.get("id_token"), members.get("access_token", "")
    if not isinstance(id_token, str) or not 0 < len(id_token) <= _MAX_TOKEN:
        raise _failed(provider, "the token endpoint returned no usable id_token")
    usable = isinstance(access_token, str) and len(access_token) <= _MAX_TOKEN and access_token.isascii()
    return ProviderTokens(id_token, access_token if usable else "")


def _failed(provider: OidcProvider, why: str) -> DaypassError:
    return DaypassError(
        ErrorKind.IDP_COMMUNICATION,
        "The identity provider could not be reached, or its answer cannot be used. Try again later.",
        private={"account": provider.account, "provider": provider.arn, "sign_in": why},
    )


# --- Kubernetes


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
