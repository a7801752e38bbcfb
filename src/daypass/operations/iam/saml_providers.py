"""SAML identity providers: metadata documents, and the keys that decrypt what a provider encrypts for us.

A document is parsed before it is stored, and returned unchanged. A private key is sealed on receipt and never shown
again.
Source: IAM API Reference, CreateSAMLProvider and the calls around it.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import SamlProvider
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import changes, faults, find, members, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.ports import Ids, SamlMetadataView

PrivateKeys = tuple[tuple[str, str, str], ...]

_CENTURY_MS: Final = 3_155_760_000_000
_ALLOWED: Final = "Allowed"


def read_documents(ctx: ReadContext, p: Params, _ids: Ids) -> SamlMetadataView | None:
    """What the request's metadata says, if it has any. The private key is checked too. Raises INVALID_INPUT."""
    reader = ctx.saml_metadata
    if key := p.get("AddPrivateKey"):
        try:
            reader.check_private_key(key)
        except ValueError as error:
            raise faults.invalid_input(f"Invalid private key: {error}.") from None
    if "SAMLMetadataDocument" not in p:
        return None
    try:
        return reader.read(p["SAMLMetadataDocument"])
    except ValueError as error:
        raise faults.invalid_input(f"Could not parse metadata: {error}.") from None


def create_saml_provider(ctx: WriteContext, p: Params) -> Answer:
    faults.refuse_unsupported(p)
    quota = paging.SAML_PROVIDERS_PER_ACCOUNT
    changes.within_quota(ctx, SamlProvider, "SAMLProvidersPerAccount", quota, account=ctx.account)
    provider_id = ctx.ids.unique("ASPRO")  # one letter more than other ids: AWS's have at least 22 characters
    provider = SamlProvider(
        id=provider_id,
        account=ctx.account,
        name=p["Name"],
        created_at=ctx.now,
        valid_until=_valid_until(ctx),
        metadata=p["SAMLMetadataDocument"],
        tags=tags.first_exact(p),
        encryption_mode=p.get("AssertionEncryptionMode"),
        private_keys=_with_key(ctx, provider_id, (), p.get("AddPrivateKey")),
    )
    _needs_key(provider)
    changes.insert(ctx, provider, faults.provider_exists("name", provider.name))
    tagged = {"Tags": members.tags(provider.tags)} if provider.tags else {}
    return {"SAMLProviderArn": provider.arn, **tagged}


def _valid_until(ctx: WriteContext) -> int:
    view: SamlMetadataView = ctx.gathered
    return view.valid_until or ctx.now + _CENTURY_MS


def _with_key(ctx: WriteContext, provider_id: str, keys: PrivateKeys, pem: str | None) -> PrivateKeys:
    if not pem:
        return keys
    if len(keys) >= paging.PRIVATE_KEYS_PER_SAML_PROVIDER:
        raise faults.over_quota("PrivateKeysPerSAMLProvider", paging.PRIVATE_KEYS_PER_SAML_PROVIDER)
    sealed = ctx.sealer.seal_secret(pem.encode(), ctx.account, provider_id)
    key_id = ctx.ids.unique("ASPKE")
    return (*keys, (key_id, str(ctx.now), base64.b64encode(sealed).decode("ascii")))


def _needs_key(provider: SamlProvider) -> None:
    if provider.encryption_mode == "Required" and not provider.private_keys:
        raise faults.invalid_input("Assertion encryption can be required only with a private key to decrypt them.")


def get_saml_provider(ctx: ReadContext, p: Params) -> Answer:
    provider = find.saml_provider(ctx, p["SAMLProviderArn"])
    return {
        "SAMLProviderUUID": provider.id,
        "SAMLMetadataDocument": provider.metadata,
        "CreateDate": provider.created_at,
        "ValidUntil": provider.valid_until,
        "Tags": members.tags(provider.tags),
        "AssertionEncryptionMode": provider.encryption_mode or _ALLOWED,
        "PrivateKeyList": [{"KeyId": key_id, "Timestamp": int(added)} for key_id, added, _ in provider.private_keys],
    }


def list_saml_providers(ctx: ReadContext, _p: Params) -> Answer:
    """All providers. As in AWS there are no pages, and the quota keeps them few."""
    providers = ctx.tx.find(SamlProvider, order="name", account=ctx.account)
    return {"SAMLProviderList": [_listed(provider) for provider in providers]}


def _listed(provider: SamlProvider) -> dict[str, Any]:
    return {"Arn": provider.arn, "ValidUntil": provider.valid_until, "CreateDate": provider.created_at}


def update_saml_provider(ctx: WriteContext, p: Params) -> Answer:
    """Values that are not given are not changed. One call may remove a key and add another, in this order."""
    faults.refuse_unsupported(p)
    provider = find.saml_provider(ctx, p["SAMLProviderArn"])
    keys = provider.private_keys
    if removed := p.get("RemovePrivateKey"):
        keys = tuple(key for key in keys if key[0] != removed)
        if keys == provider.private_keys:
            raise faults.not_found(f"The private key with id {removed} cannot be found.")
    changed = replace(
        provider,
        private_keys=_with_key(ctx, provider.id, keys, p.get("AddPrivateKey")),
        encryption_mode=p.get("AssertionEncryptionMode") or provider.encryption_mode,
    )
    if ctx.gathered is not None:
        changed = replace(changed, metadata=p["SAMLMetadataDocument"], valid_until=_valid_until(ctx))
    _needs_key(changed)
    ctx.tx.replace(changed)
    return {"SAMLProviderArn": provider.arn}


def delete_saml_provider(ctx: WriteContext, p: Params) -> Answer:
    """Roles that trust it remain, but can no longer be assumed with it."""
    ctx.tx.delete(find.saml_provider(ctx, p["SAMLProviderArn"]))
    return {}
