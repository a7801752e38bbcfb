"""The provider of a federated principal, later: whether it still exists, and whether a role still trusts it (attack A304)."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from daypass.domain.certificate import SERVICE
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import (
    IssuerAllowList,
    OAuthClient,
    OidcProvider,
    Role,
    SamlProvider,
    TrustAnchor,
    X509Profile,
)
from daypass.domain.issuers import issuer_allowed
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.policy.partial_evaluation import Known, Outcome
from daypass.domain.policy.pattern import fold
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies
from daypass.operations.iam.assuming import assuming
from daypass.ports import Reader

Provider: TypeAlias = OidcProvider | SamlProvider | TrustAnchor | OAuthClient
_FEDERATED: Final = re.compile(
    r"arn:aws:(?:iam|rolesanywhere|daypass):[a-z0-9-]*:(?P<account>[0-9]{12}):"
    r"(?P<kind>oidc-provider|saml-provider|trust-anchor|client)/(?P<rest>.+)",
    re.DOTALL,
)
_MANY: Final = 10_000


def is_federated(principal_id: str) -> bool:
    """Whether the principal of `session.Hop` is one of a provider: PROVIDER:SUBJECT."""
    return _FEDERATED.fullmatch(principal_id) is not None


def provider_of(tx: Reader, principal_id: str) -> Provider | None:
    """The provider of a federated principal; None when it was deleted or disabled, or the operator no longer allows it."""
    named = _FEDERATED.fullmatch(principal_id)
    if named is None:
        return None
    account, name = named["account"], named["rest"].partition(":")[0]
    candidates: list[Provider | None]
    match named["kind"]:
        case "oidc-provider":  # its name can have colons
            candidates = [*tx.find(OidcProvider, account=account, order="url", limit=_MANY)]
        case "saml-provider":
            candidates = [tx.get(SamlProvider, account=account, name=name)]
        case "trust-anchor":
            candidates = [tx.get(TrustAnchor, id=name)]
        case _:
            candidates = [tx.get(OAuthClient, id=name)]
    found = [each for each in candidates if each is not None and principal_id.startswith(f"{each.arn}:")]
    provider = max(found, key=lambda each: len(each.arn), default=None)
    if isinstance(provider, OidcProvider):  # attack A339
        listed = tx.get(IssuerAllowList, account=account)
        return provider if listed is None or issuer_allowed(listed.issuers, provider.url) else None
    return None if isinstance(provider, TrustAnchor | OAuthClient) and not provider.enabled else provider


def trusts(tx: Reader, role: Role, principal_id: str) -> bool:
    """Whether the role may still admit the federated principal. What follows from its subject is certain; a permission
    that depends on other conditions counts.
    """
    provider = provider_of(tx, principal_id)
    if provider is None:
        return False
    subject = principal_id.removeprefix(f"{provider.arn}:")
    kind, action, federated, service = PrincipalKind.WEB_IDENTITY, "sts:AssumeRoleWithWebIdentity", provider.arn, ""
    keys: dict[str, Value] = {}
    if isinstance(provider, OidcProvider):
        keys = {fold(f"{provider.url}:sub"): subject}
    elif isinstance(provider, SamlProvider):
        kind, action, keys = PrincipalKind.SAML, "sts:AssumeRoleWithSAML", {"saml:sub": subject}
    elif isinstance(provider, TrustAnchor):
        if not _has_profile(tx, provider, role):
            return False
        kind, action, federated, service = PrincipalKind.CERTIFICATE, ASSUME_ROLE, "", SERVICE
        keys = {"aws:sourcearn": provider.arn, "aws:sourceaccount": provider.account}
    facts = PrincipalFacts(kind, "", (), service=service, federated=federated)
    known = Known(frozenset({*keys, "aws:resourceaccount"}), ("aws:resourcetag/", "iam:resourcetag/"))
    return assuming(role, facts, keys, CallerPolicies(identity=None), known, action).outcome is not Outcome.DENIED


def _has_profile(tx: Reader, anchor: TrustAnchor, role: Role) -> bool:
    profiles = tx.find(X509Profile, account=anchor.account, order="id", limit=_MANY)
    return any(profile.enabled and role.arn in profile.role_arns for profile in profiles)
