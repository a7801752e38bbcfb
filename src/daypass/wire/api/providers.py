"""OpenID Connect providers over the management API: their Daypass settings, their keys, and the allow-list of issuers.

Providers themselves are created and deleted with IAM's operations. A secret is accepted and never returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from daypass.domain.directory import IssuerAllowList, OidcProvider
from daypass.operations.providers import issuers
from daypass.operations.providers import settings as providers
from daypass.ports import IssuerStatus
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()

ProviderPath = Annotated[
    str, Path(max_length=2048, description="The provider's URL, with or without https://, or its ARN.")
]


class ProviderOut(s.EntityOut):
    arn: str
    url: str
    client_ids: list[str]
    created_at: int


class ProviderSettingsOut(ProviderOut):
    settings: Mapping[str, Any] = Field(description="Those that differ from the default; *** stands for a secret.")

    @classmethod
    def with_settings(cls, found: providers.Settings) -> ProviderSettingsOut:
        return cls.copied(found.provider, settings=found.members)


class ProvidersOut(s.Out):
    providers: list[ProviderOut]


class ProviderSettingsIn(s.In):
    settings: dict[str, Any] = Field(
        description="All settings; what is left out has its default. *** keeps a secret, while its address is the same.",
        max_length=64,
    )


class KeyOut(s.Out):
    kid: str
    kty: str
    alg: str
    crv: str


class ProviderKeysOut(s.Out):
    """The status of a provider's keys in the server process that answers. Times in ms, null: never."""

    arn: str
    kind: str = Field(description="static, file, url, discovery; none when the settings cannot be used.")
    place: str = Field(description="The file or URL that they come from.")
    keys: list[KeyOut]
    fetched_at: s.OptionalMillis
    due_at: s.OptionalMillis = Field(description="When they will be fetched again.")
    usable_until: s.OptionalMillis = Field(description="How long they serve if that keeps failing.")
    tried_at: s.OptionalMillis
    failed_at: s.OptionalMillis
    error: str = Field(description="What the last attempt failed by; empty when it went well.")
    skew_ms: int | None = Field(description="The issuer's clock minus the server's, where it is known.")

    @classmethod
    def of(cls, provider: OidcProvider, status: IssuerStatus) -> ProviderKeysOut:
        return cls.copied(status, arn=provider.arn, keys=[KeyOut(**key) for key in status.keys])


class AllowedIssuersIn(s.In):
    issuers: list[Annotated[str, Field(max_length=255)]] = Field(
        max_length=100, description="Issuers' URLs without https://; `/*` at the end: everything below."
    )


class AllowedIssuersOut(s.Out):
    issuers: list[str] | None = Field(description="null: the account has no list, so any issuer may be trusted.")
    updated_at: s.OptionalMillis

    @classmethod
    def of(cls, listed: IssuerAllowList | None) -> AllowedIssuersOut:
        if listed is None:
            return cls(issuers=None, updated_at=None)
        return cls.copied(listed)


@router.get("/providers/oidc", name="ListProviders", tags=["providers"])
async def list_providers(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> ProvidersOut:
    """The OpenID Connect providers of an account, by URL."""
    listed = await providers.list_providers(env, call, account)
    return ProvidersOut(providers=[ProviderOut.of(provider) for provider in listed])


@router.get("/providers/oidc/{provider:path}/settings", name="GetProviderSettings", tags=["providers"])
async def get_provider_settings(
    env: s.EnvDep, call: s.CallDep, provider: ProviderPath, account: s.AccountQuery = ""
) -> ProviderSettingsOut:
    """One provider with its Daypass settings."""
    settings = await providers.get_provider_settings(env, call, provider, account)
    return ProviderSettingsOut.with_settings(settings)


@router.put("/providers/oidc/{provider:path}/settings", name="PutProviderSettings", tags=["providers"])
async def put_provider_settings(
    env: s.EnvDep, call: s.CallDep, provider: ProviderPath, body: ProviderSettingsIn, account: s.AccountQuery = ""
) -> ProviderSettingsOut:
    """Replaces a provider's settings. Only the operator's principals may set private networks, plain HTTP and files."""
    settings = await providers.put_provider_settings(env, call, provider, body.settings, account)
    return ProviderSettingsOut.with_settings(settings)


@router.get("/providers/oidc/{provider:path}/keys", name="GetProviderKeys", tags=["providers"])
async def get_provider_keys(
    env: s.EnvDep, call: s.CallDep, provider: ProviderPath, account: s.AccountQuery = ""
) -> ProviderKeysOut:
    """The status of a provider's keys. They are fetched if they were never fetched."""
    return ProviderKeysOut.of(*await providers.get_provider_keys(env, call, provider, account))


@router.post("/providers/oidc/{provider:path}/keys/refresh", name="GetProviderKeys", tags=["providers"])
async def refresh_provider_keys(
    env: s.EnvDep, call: s.CallDep, provider: ProviderPath, account: s.AccountQuery = ""
) -> ProviderKeysOut:
    """Fetches a provider's keys again, unless they were fetched within the last second."""
    return ProviderKeysOut.of(*await providers.get_provider_keys(env, call, provider, account, refresh=True))


@router.get("/issuers/allowed", name="GetAllowedIssuers", tags=["providers"])
async def get_allowed_issuers(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> AllowedIssuersOut:
    """The only issuers that the account may trust."""
    return AllowedIssuersOut.of(await issuers.get_allowed_issuers(env, call, account))


@router.put("/issuers/allowed", name="PutAllowedIssuers", tags=["providers"])
async def put_allowed_issuers(
    env: s.EnvDep, call: s.CallDep, body: AllowedIssuersIn, account: s.AccountQuery = ""
) -> AllowedIssuersOut:
    """Replaces the list. Tokens of issuers that are not on it are refused from then on; an empty list allows none."""
    return AllowedIssuersOut.of(await issuers.put_allowed_issuers(env, call, tuple(body.issuers), account))


@router.delete("/issuers/allowed", name="PutAllowedIssuers", tags=["providers"], status_code=204)
async def delete_allowed_issuers(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> None:
    """Removes the list: any issuer may be trusted."""
    await issuers.put_allowed_issuers(env, call, None, account)
