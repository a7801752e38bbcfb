"""Who is behind a caller, what approval rules can call that person, and whether the person is gone.

Everything is read in the transaction that makes the decision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from daypass.domain.access.request import identifiers, linked_person, original_principal, source_identity
from daypass.domain.arn import account_of
from daypass.domain.claims import Caller, issuer_allowed
from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    IssuerAllowList,
    KeyStatus,
    LoginProfile,
    OAuthClient,
    OidcProvider,
    Revocation,
    SamlProvider,
    TrustAnchor,
    User,
)
from daypass.domain.session import PERSON_TAG
from daypass.operations.principals import arn_of_principal, find_by_id, groups_of
from daypass.ports import Reader

Provider: TypeAlias = OidcProvider | SamlProvider | TrustAnchor | OAuthClient
_FEDERATED: Final = re.compile(
    r"arn:aws:(?:iam|rolesanywhere|daypass):[a-z0-9-]*:(?P<account>[0-9]{12}):"
    r"(?P<kind>oidc-provider|saml-provider|trust-anchor|client)/(?P<rest>.+)",
    re.DOTALL,
)
_MANY: Final = 10_000


class Person(Struct, frozen=True):
    """The person behind a caller.

    Attributes:
        id: the principal id of the first hop; "" when another person acts for it.
        principal_ids: those of all hops.
        names: ARNs that rules can name: of users and their groups, of roles, of subjects of identity providers.
        identifiers: see `domain.access.request.identifiers`.
    """

    id: str
    arn: str
    principal_ids: tuple[str, ...]
    names: tuple[str, ...]
    identifiers: tuple[str, ...]
    access_key_id: str
    mfa_at: int


def person_of(tx: Reader, caller: Caller, mfa_at: int = 0) -> Person:
    """The person behind a caller. `mfa_at`: ms, when a code in this request was accepted; 0: no code."""
    ids = tuple(dict.fromkeys(hop.principal_id for hop in caller.hops))
    identity = caller.session.source_identity if caller.session is not None else ""
    tagged = [value for key, value in caller.tags if key.lower() == PERSON_TAG]
    return Person(
        id=original_principal(caller.hops),
        arn=caller.arn,
        principal_ids=ids,
        names=names_of(tx, ids),
        identifiers=identifiers(caller.hops, identity, (*tagged, *linked(tx, ids))),
        access_key_id=caller.hops[0].access_key_id,
        mfa_at=mfa_at or caller.mfa_at,
    )


def person_of_user(tx: Reader, user: User) -> Person:
    """A user who has not made a request."""
    ids = (user.id,)
    identifiers = with_links(tx, (f"principal:{user.id}",), ids)
    return Person(user.id, user.arn, ids, names_of(tx, ids), identifiers, "", 0)


def linked(tx: Reader, ids: Iterable[str]) -> list[str]:
    """Values of PERSON_TAG of the users with these ids. A session tag cannot hide them."""
    users = [tx.get(User, id=each) for each in ids if each.startswith("AIDA")]
    return [
        value for user in users if user is not None for key, value in user.tags if key.lower() == PERSON_TAG and value
    ]


def with_links(tx: Reader, persons: Iterable[str], ids: Iterable[str]) -> tuple[str, ...]:
    """Stored identifiers of a person, with the values of PERSON_TAG that its users have now (attack A214)."""
    return tuple(sorted({*persons, *map(linked_person, linked(tx, ids))}))


def names_of(tx: Reader, ids: Iterable[str]) -> tuple[str, ...]:
    """The ARNs of principals as they are now. A principal that has been deleted has none."""
    names: list[str] = []
    for each in ids:
        if arn := arn_of_principal(tx, each):
            names.append(arn)
            names += [group.arn for group in groups_of(tx, each)] if each.startswith("AIDA") else []
    return tuple(names)


def is_disabled(tx: Reader, ids: Iterable[str]) -> bool:
    """Whether a user among these principals was deleted, or has neither an active key nor a password, or a provider of one
    was deleted or disabled.
    """
    for each in ids:
        if is_federated(each) and provider_of(tx, each) is None:
            return True
        if not each.startswith("AIDA"):
            continue
        if tx.get(User, id=each) is None:
            return True
        active = any(key.status is KeyStatus.ACTIVE for key in tx.find(AccessKey, owner_id=each))
        if not active and tx.get(LoginProfile, user_id=each) is None:
            return True
    return False


def why_gone(tx: Reader, ids: Sequence[str], persons: Iterable[str], since: int, now: int) -> str:
    """Why a person does not count any more; "": the person does.

    `ids`: of the principals in the person's chain. `persons`: the person's identifiers. `since`: ms; what was requested or
    voted before a revocation of the person is void, because it may have been the work of a thief (attacks A268, A334).
    """
    if is_disabled(tx, ids):
        return "was deleted or disabled"
    accounts: dict[str, None] = {}
    for each in ids:
        accounts[account := _account_of_principal(tx, each)] = None
        for subject, value in (("principal", each), ("role", each), ("account", account)):
            found = tx.find(Revocation, account=account, subject=subject, value=value)
            if any(_ends(revocation, since, now) for revocation in found):
                return "was blocked or revoked"
    prefix = source_identity("")
    named = sorted(each.removeprefix(prefix) for each in persons if each.startswith(prefix) and each.isascii())
    for account in accounts if named else ():  # letters of each case mean one person
        found = tx.find_among(
            Revocation, "value", named, order="id", any_case=True, account=account, subject="source_identity"
        )
        if any(_ends(revocation, since, now) for revocation in found):
            return "was blocked or revoked"
    return ""


def _ends(revocation: Revocation, since: int, now: int) -> bool:
    return revocation.blocks_at(now) or revocation.issued_before > since


def _account_of_principal(tx: Reader, principal_id: str) -> str:
    """The account of a principal of `session.Hop`."""
    entity = find_by_id(tx, principal_id)
    if entity is not None:
        return entity.account
    return account_of(principal_id) or principal_id.partition(":")[0]


def persons_of(tx: Reader, request: AccessRequest) -> tuple[str, ...]:
    """The identifiers of the requester and the beneficiary: those that the request stores, and those that they have now."""
    return with_links(tx, request.persons, (request.requester_id, request.beneficiary_id))


def principals_in(request: AccessRequest) -> tuple[str, ...]:
    """The principal ids of the beneficiary that the request stores: the person, and the roles of its session."""
    return (request.beneficiary_id, *(text[5:] for text in request.persons if text.startswith("role:")))


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
