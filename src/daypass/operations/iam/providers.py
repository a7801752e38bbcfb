"""OpenID Connect providers: the issuers whose tokens the account's roles may trust.

The URL is stored exactly as written, without its scheme: a token must name exactly it. Thumbprints are stored only for
the tools that set them; TLS connections to an issuer are verified with the web's certificate authorities.
Source: IAM API Reference, CreateOpenIDConnectProvider and the calls around it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any, Final

from daypass.domain.claims import has_dot_segments
from daypass.domain.directory import OidcProvider, SamlProvider
from daypass.domain.web_identity import is_usable_url
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import context, documents, faults, find, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.providers import refuse_unlisted
from daypass.ports import Ids, SamlMetadataView

_SCHEME: Final = "https://"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_URL = re.compile(
    rf"https://{_LABEL}(?:\.{_LABEL})*"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
)
_HIGHEST_PORT: Final = 65535


def bare(url: str) -> str:
    """The provider's URL without `https://`, checked. Raises VALIDATION.

    As in AWS, no query, fragment or user name is allowed; a port is allowed, which is a Daypass extension. Condition
    keys begin with the URL, so it must not be a URL for which they could be read as another key.
    """
    match = _URL.fullmatch(url)
    without = url.removeprefix(_SCHEME)
    if match is None or int(match["port"] or 1) > _HIGHEST_PORT or not is_usable_url(without) or has_dot_segments(url):
        raise faults.invalid("Invalid Open ID Connect Provider URL")
    return without


def create_oidc_provider(ctx: WriteContext, p: Params) -> Answer:
    faults.refuse_unsupported(p)
    url = bare(p["Url"])
    provider = OidcProvider(
        account=ctx.account,
        url=url,
        created_at=ctx.now,
        client_ids=_client_ids(p.get("ClientIDList") or ()),
        thumbprints=_thumbprints(p.get("ThumbprintList") or ()),
        tags=tags.first_exact(p),
    )
    quota = paging.OIDC_PROVIDERS_PER_ACCOUNT
    taken = faults.provider_exists("url", p["Url"])
    refuse_unlisted(ctx.tx, ctx.account, url)
    if ctx.tx.get(OidcProvider, account=ctx.account, url=url) is not None:
        raise taken
    context.within_quota(ctx, OidcProvider, "OpenIdConnectProvidersPerAccount", quota, account=ctx.account)
    context.insert(ctx, provider, taken)
    tagged = {"Tags": documents.tags(provider.tags)} if provider.tags else {}
    return {"OpenIDConnectProviderArn": provider.arn, **tagged}


def _client_ids(given: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Each once, in the order given."""
    each = tuple(dict.fromkeys(given))
    if len(each) > paging.CLIENT_IDS_PER_OIDC_PROVIDER:
        raise faults.over_quota("ClientIdsPerOpenIdConnectProvider", paging.CLIENT_IDS_PER_OIDC_PROVIDER)
    return each


def _thumbprints(given: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    if len(given) > paging.THUMBPRINTS_PER_OIDC_PROVIDER:
        raise faults.invalid_input("Thumbprint list must contain fewer than 5 entries.")  # AWS's words; five are taken
    return tuple(dict.fromkeys(given))


def get_oidc_provider(ctx: ReadContext, p: Params) -> Answer:
    provider = find.oidc_provider(ctx, p["OpenIDConnectProviderArn"])
    return {
        "Url": provider.url,
        "ClientIDList": list(provider.client_ids),
        "ThumbprintList": list(provider.thumbprints),
        "CreateDate": provider.created_at,
        "Tags": documents.tags(provider.tags),
    }


def list_oidc_providers(ctx: ReadContext, _p: Params) -> Answer:
    """All providers. As in AWS there are no pages, and the quota keeps them few."""
    providers = ctx.tx.find(OidcProvider, order="url", account=ctx.account)
    return {"OpenIDConnectProviderList": [{"Arn": provider.arn} for provider in providers]}


def add_client_id(ctx: WriteContext, p: Params) -> Answer:
    """Adding an existing one changes nothing."""
    provider = find.oidc_provider(ctx, p["OpenIDConnectProviderArn"])
    ctx.tx.replace(replace(provider, client_ids=_client_ids((*provider.client_ids, p["ClientID"]))))
    return {}


def remove_client_id(ctx: WriteContext, p: Params) -> Answer:
    """Removing a missing one changes nothing."""
    provider = find.oidc_provider(ctx, p["OpenIDConnectProviderArn"])
    rest = tuple(client_id for client_id in provider.client_ids if client_id != p["ClientID"])
    ctx.tx.replace(replace(provider, client_ids=rest))
    return {}


def update_thumbprint(ctx: WriteContext, p: Params) -> Answer:
    """Replaces the whole list."""
    provider = find.oidc_provider(ctx, p["OpenIDConnectProviderArn"])
    ctx.tx.replace(replace(provider, thumbprints=_thumbprints(p["ThumbprintList"])))
    return {}


def delete_oidc_provider(ctx: WriteContext, p: Params) -> Answer:
    """Roles that trust it remain, but can no longer be assumed with it."""
    arn = p["OpenIDConnectProviderArn"]
    missing = faults.not_found(f"OpenId connect Provider {arn} cannot be found.")
    ctx.tx.delete(find.oidc_provider(ctx, arn, missing))
    return {}


# --- Saml providers


PrivateKeys = tuple[tuple[str, str, str], ...]

_CENTURY_MS: Final = 3_155_760_000_000
_ALLOWED: Final = "Allowed"


def read_documents(ctx: ReadContext, p: Params, _ids: Ids) -> SamlMetadataView | None:
    """Parses the request's metadata, if any, and checks the private key. Raises INVALID_INPUT."""
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
    context.within_quota(ctx, SamlProvider, "SAMLProvidersPerAccount", quota, account=ctx.account)
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
    context.insert(ctx, provider, faults.provider_exists("name", provider.name))
    tagged = {"Tags": documents.tags(provider.tags)} if provider.tags else {}
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
        "Tags": documents.tags(provider.tags),
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
