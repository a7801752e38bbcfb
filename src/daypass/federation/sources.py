"""Derives the source of a provider's keys from its settings, and fetches them once.

Nothing is cached or retried here. A bearer token is sent only to the origin for which it was configured.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from daypass.crypto.seal import Sealer
from daypass.domain.claims import secret_owner
from daypass.domain.directory import OidcProvider
from daypass.domain.jws import fault_of_rsa_keys
from daypass.domain.provider_settings import ProviderSettings, issuer_of, parse_settings
from daypass.federation.fetch import Fetched, Fetcher, FetchError, FetchReason, Order, check_url, parse_url
from daypass.federation.jwks import Keys, read_discovery, read_keys
from daypass.federation.network import tls_context

_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class IssuerKeySource:
    """A source of keys and its rules."""

    id: str  # a digest of all that matters; providers of several accounts that differ in nothing share it
    kind: str  # static | file | url | discovery
    account: str  # the provider's; "" where the source is shared
    owner: str  # the account that asked, whose share of the fetches it takes. No part of the digest
    provider_url: str
    place: str  # the file, the URL, or that of the discovery document
    issuers: frozenset[str]  # the accepted issuers in the discovery document
    settings: ProviderSettings = field(repr=False)


class FetchedKeys(NamedTuple):
    """Keys that were fetched. `max_age` in seconds, None when nothing says. `date`: the issuer's clock, ms, likewise."""

    keys: Keys
    max_age: int | None = None
    date: int | None = None


@lru_cache(maxsize=1024)
def source_of(provider: OidcProvider) -> IssuerKeySource:
    """The source of a provider's keys. Raises ValueError when its settings cannot be read."""
    settings = parse_settings(provider.settings)
    issuer = issuer_of(provider.url, settings)
    base = issuer if issuer.startswith(("https://", "http://")) else f"https://{provider.url}"
    kinds = (
        ("static", settings.static_jwks),
        ("file", settings.jwks_file),
        ("url", settings.jwks_url),
        ("discovery", base.removesuffix("/") + _DISCOVERY),
    )
    kind, place = next((kind, place) for kind, place in kinds if place)
    rules = (
        *(settings.ca_pem, settings.jwks_bearer, settings.jwks_bearer_file),
        *(settings.allow_private_networks, settings.allow_http, settings.spiffe_trust_domain),
    )
    account = provider.account if any(rules) or kind != "discovery" else ""
    text = json.dumps([account, provider.url if account else "", kind, place, issuer, *rules])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return IssuerKeySource(
        digest, kind, account, provider.account, provider.url, place, frozenset({issuer, base}), settings
    )


def fault_of(provider: OidcProvider, *, allow_private: bool = False) -> str:
    """The fault in the configured source of a provider's keys, found without fetching them; or "". Blocks.
    `allow_private`: see Getter.
    """
    try:
        source = source_of(provider)
    except ValueError as error:
        return str(error)
    settings = source.settings
    try:
        tls_context(settings.ca_pem)
    except ValueError as error:
        return f"ca_pem: {error}."
    try:
        if source.kind == "static":
            keys = read_keys(settings.static_jwks.encode(), spiffe=bool(settings.spiffe_trust_domain))
            if fault := fault_of_rsa_keys(json.loads(keys.set.jwks)["keys"]):
                return f"static_jwks: {fault}."
        for url in filter(None, (settings.jwks_url, settings.token_review.url if settings.token_review else "")):
            private = settings.allow_private_networks or allow_private
            check_url(url, allow_http=settings.allow_http, allow_private=private)
    except (ValueError, FetchError) as error:
        return f"{'static_jwks' if source.kind == 'static' else 'URL'}: {error}."
    return ""


@dataclass(frozen=True, slots=True)
class Getter:
    """Fetches keys. `files` is the directory of files that settings may name; `allow_private`: every issuer may have a
    private address.
    """

    fetcher: Fetcher
    sealer: Sealer
    files: Path | None = None
    allow_private: bool = False

    async def get(self, source: IssuerKeySource) -> FetchedKeys:
        """The keys of a source. Raises FetchError, FileError, or ValueError when the result is not a usable key set."""
        if source.kind == "static":
            return FetchedKeys(self._read(source, source.settings.static_jwks.encode()))
        if source.kind == "file":
            return FetchedKeys(self._read(source, await asyncio.to_thread(read_file, self.files, source.place)))
        bearer = await self.bearer(source.account, source.provider_url, source.settings)
        return await self._fetched(source, bearer)

    async def _fetched(self, source: IssuerKeySource, bearer: str) -> FetchedKeys:
        place, deadline = source.place, self.fetcher.deadline()  # of both fetches together
        if source.kind == "discovery":
            fetched = await self._fetch(source, place, bearer, deadline)
            place = read_discovery(fetched.body, source.issuers)
            bearer = bearer if _same_origin(source.place, place, source.settings) else ""
        answer = await self._fetch(source, place, bearer, deadline)
        return FetchedKeys(self._read(source, answer.body), answer.max_age, answer.date)

    async def _fetch(self, source: IssuerKeySource, url: str, bearer: str, deadline: float) -> Fetched:
        settings = source.settings
        order = Order(
            url,
            bearer=bearer,
            ca_pem=settings.ca_pem,
            allow_private=settings.allow_private_networks or self.allow_private,
            allow_http=settings.allow_http,
            owner=source.owner,
        )
        return await self.fetcher.fetch(order, deadline)

    def _read(self, source: IssuerKeySource, body: bytes) -> Keys:
        return read_keys(body, spiffe=bool(source.settings.spiffe_trust_domain))

    async def bearer(self, account: str, url: str, settings: ProviderSettings) -> str:
        """The token to fetch keys with, "" for none. Raises FileError, or FetchError when it does not open."""
        if settings.jwks_bearer_file:
            return await asyncio.to_thread(read_token, self.files, settings.jwks_bearer_file)
        return open_bearer(self.sealer, settings.jwks_bearer, account, secret_owner(url, "jwks_bearer"))


def open_bearer(sealer: Sealer, sealed: str, account: str, owner: str) -> str:
    """A sealed bearer token of the settings, opened; "" for none. Raises FetchError when it is another's or altered."""
    if not sealed:
        return ""
    try:
        return sealer.open_secret(base64.b64decode(sealed, validate=True), account, owner).decode("ascii")
    except ValueError:
        raise FetchError(FetchReason.SECRET, "the bearer token of the settings does not open: give it again") from None


def _same_origin(first: str, second: str, settings: ProviderSettings) -> bool:
    one, other = (parse_url(url, allow_http=settings.allow_http) for url in (first, second))
    return (one.tls, one.host.lower(), one.port) == (other.tls, other.host.lower(), other.port)


# --- Files that a provider's settings may name: keys, and tokens to fetch keys with


MAX_FILE = 1_048_576


class FileError(Exception):
    """A file is forbidden or cannot be read. The message is for an operator."""


def read_file(directory: Path | None, name: str) -> bytes:
    """The content of a file of `directory`, by its path, absolute or within it. Blocks. Raises FileError."""
    if directory is None:
        raise FileError("settings may name files only when federation.files says where they lie")
    try:
        root = directory.resolve(strict=True)
        path = (root / name).resolve(strict=True)  # the links of a mounted secret point to its other directories
    except (OSError, ValueError, RuntimeError):
        raise FileError("the file does not exist") from None
    if not path.is_relative_to(root):
        raise FileError("the file is outside of federation.files")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileError("this is not a regular file")
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FileError(f"the file cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise FileError(f"the file is over {MAX_FILE} bytes")
    return data


def read_token(directory: Path | None, name: str) -> str:
    """The bearer token that a file holds. Blocks. Raises FileError."""
    try:
        token = read_file(directory, name).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise FileError("the file holds no token")
    return token
