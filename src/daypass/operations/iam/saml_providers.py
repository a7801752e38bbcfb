"""SAML identity providers: metadata documents, and the keys that decrypt what a provider encrypts for us.

A document is read before it is stored, and echoed unchanged. A private key comes in once, is sealed, and never shown again.
Source: IAM API Reference, CreateSAMLProvider and the calls around it.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.iam import changes, faults, find, quotas, shapes, tags
from daypass.operations.iam.work import Answer, Look, Params, Work
from daypass.ports import Ids, SamlMetadata, SamlMetadataView

PrivateKeys = tuple[tuple[str, str, str], ...]

_CENTURY_MS: Final = 3_155_760_000_000
_ALLOWED: Final = "Allowed"
_NOT_HERE: Final = (
    "ContextProvider",
    "IdentityCenterInstanceArn",
    "RemoveContextProvider",
    "RemoveIdentityCenterInstance",
)


def read_documents(look: Look, p: Params, _ids: Ids) -> SamlMetadataView | None:
    """What the request's metadata says, if it has any; its private key is checked too. Raises INVALID_INPUT."""
    reader = _reader(look)
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


def _reader(look: Look) -> SamlMetadata:
    if look.saml_metadata is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "SAML is not supported by this service.")
    return look.saml_metadata


def create_saml_provider(work: Work, p: Params) -> Answer:
    faults.refuse_unsupported(p, _NOT_HERE)
    quota = quotas.SAML_PROVIDERS_PER_ACCOUNT
    changes.within_quota(work, SamlProvider, "SAMLProvidersPerAccount", quota, account=work.account)
    provider_id = work.ids.unique("ASPRO")  # a letter more than other ids: AWS's have at least 22 characters
    provider = SamlProvider(
        id=provider_id,
        account=work.account,
        name=p["Name"],
        created_at=work.now,
        valid_until=_valid_until(work),
        metadata=p["SAMLMetadataDocument"],
        tags=tags.first_exact(p),
        encryption_mode=p.get("AssertionEncryptionMode"),
        private_keys=_with_key(work, provider_id, (), p.get("AddPrivateKey")),
    )
    _needs_key(provider)
    changes.insert(work, provider, faults.provider_exists("name", provider.name))
    tagged = {"Tags": shapes.tags(provider.tags)} if provider.tags else {}
    return {"SAMLProviderArn": provider.arn, **tagged}


def _valid_until(work: Work) -> int:
    view: SamlMetadataView = work.gathered
    return view.valid_until or work.now + _CENTURY_MS


def _with_key(work: Work, provider_id: str, keys: PrivateKeys, pem: str | None) -> PrivateKeys:
    if not pem:
        return keys
    if len(keys) >= quotas.PRIVATE_KEYS_PER_SAML_PROVIDER:
        raise faults.over_quota("PrivateKeysPerSAMLProvider", quotas.PRIVATE_KEYS_PER_SAML_PROVIDER)
    sealed = work.sealer.seal_secret(pem.encode(), work.account, provider_id)
    key_id = work.ids.unique("ASPKE")
    return (*keys, (key_id, str(work.now), base64.b64encode(sealed).decode("ascii")))


def _needs_key(provider: SamlProvider) -> None:
    if provider.encryption_mode == "Required" and not provider.private_keys:
        raise faults.invalid_input("Assertion encryption can be required only with a private key to decrypt them.")


def get_saml_provider(look: Look, p: Params) -> Answer:
    provider = find.saml_provider(look, p["SAMLProviderArn"])
    return {
        "SAMLProviderUUID": provider.id,
        "SAMLMetadataDocument": provider.metadata,
        "CreateDate": provider.created_at,
        "ValidUntil": provider.valid_until,
        "Tags": shapes.tags(provider.tags),
        "AssertionEncryptionMode": provider.encryption_mode or _ALLOWED,
        "PrivateKeyList": [{"KeyId": key_id, "Timestamp": int(added)} for key_id, added, _ in provider.private_keys],
    }


def list_saml_providers(look: Look, _p: Params) -> Answer:
    """All of them: AWS has no pages here, and the quota keeps them few."""
    found = look.tx.find(SamlProvider, order="name", account=look.account)
    return {"SAMLProviderList": [_listed(provider) for provider in found]}


def _listed(provider: SamlProvider) -> dict[str, Any]:
    return {"Arn": provider.arn, "ValidUntil": provider.valid_until, "CreateDate": provider.created_at}


def update_saml_provider(work: Work, p: Params) -> Answer:
    """What is not given stays. A key may be added and another removed in one call, the removal first."""
    faults.refuse_unsupported(p, _NOT_HERE)
    provider = find.saml_provider(work, p["SAMLProviderArn"])
    keys = provider.private_keys
    if gone := p.get("RemovePrivateKey"):
        keys = tuple(key for key in keys if key[0] != gone)
        if keys == provider.private_keys:
            raise faults.no_such_private_key(gone)
    changed = replace(
        provider,
        private_keys=_with_key(work, provider.id, keys, p.get("AddPrivateKey")),
        encryption_mode=p.get("AssertionEncryptionMode") or provider.encryption_mode,
    )
    if work.gathered is not None:
        changed = replace(changed, metadata=p["SAMLMetadataDocument"], valid_until=_valid_until(work))
    _needs_key(changed)
    work.tx.replace(changed)
    return {"SAMLProviderArn": provider.arn}


def delete_saml_provider(work: Work, p: Params) -> Answer:
    """Roles that trust it stay; nobody can assume them by it any more."""
    work.tx.delete(find.saml_provider(work, p["SAMLProviderArn"]))
    return {}
