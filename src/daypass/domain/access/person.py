"""Decides whether two callers are the same person: from the hops of their sessions, never from names.

A person may have several users, keys, roles and identity providers. A caller has a set of identifiers; two callers with
a common identifier are the same person. More identifiers only make it harder to approve one's own request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from daypass.domain.claims import TRANSIENT
from daypass.domain.session import Hop

_FEDERATED: Final = re.compile(
    r"arn:aws:(?:iam|rolesanywhere):[a-z0-9-]*:[0-9]{12}:(?P<subject>(?:oidc-provider|saml-provider|trust-anchor)/.+)",
    re.DOTALL,
)

_SAML: Final = re.compile(r"arn:[^/]+:saml-provider/")
_TRANSIENT: Final = re.compile(rf"[^/]+:saml-provider/[^:]+:{TRANSIENT}")
NOBODY: Final = (
    "Who is behind this session is not known: somebody acts in it for another, or its identity provider gives people a new "
    "name at each sign-in (a transient NameID)."
)
"""For a person without an `original_principal`."""


def identifiers(hops: Sequence[Hop], named: str = "", linked: Iterable[str] = ()) -> tuple[str, ...]:
    """The identifiers of the person behind a chain, sorted.

    `named`: the source identity. `linked`: values of PERSON_TAG of the principals in the chain. Roles are not persons: only
    the principals that assumed them count. A subject of an identity provider is the same in every account that trusts it.
    A SAML provider may give a person a name in each format that an application asks for, but says who it is in the session
    name, too (attack A363).
    """
    found = {identifier(hop.principal_id) for hop in hops if not hop.principal_id.startswith("AROA")}
    if len(hops) > 1 and _SAML.match(hops[0].principal_id):
        found.add(f"subject:saml-provider:{_folded(hops[1].name)}")
    if named:
        found.add(source_identity(named))
    found.update(linked_person(value) for value in linked if value)
    return tuple(sorted(found))


def source_identity(value: str) -> str:
    """The identifier that a source identity is."""
    return f"source-identity:{_folded(value)}"


def linked_person(value: str) -> str:
    """The identifier that a value of PERSON_TAG is."""
    return f"person:{_folded(value)}"


def identifier(principal_id: str) -> str:
    """The identifier of a principal of `session.Hop`."""
    federated = _FEDERATED.fullmatch(principal_id)
    if federated is None:
        return f"principal:{principal_id}"
    provider, _, subject = federated["subject"].partition(":")
    kind, _, name = provider.partition("/")
    if kind == "oidc-provider":  # its name is the issuer; the names of the others are chosen by each account
        return f"subject:{_folded(f'{name}:{subject}')}"
    return f"subject:{kind}:{_folded(subject)}"


def same_person(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of identifiers belong to the same person."""
    return not set(one).isdisjoint(other)


def original_principal(hops: Sequence[Hop]) -> str:
    """The principal id that a grant is for: the first hop, if no other person is in the chain; else "".

    A session in which somebody acts for the person (RFC 8693, actor) does not use the person's grants. Whom a provider names
    anew at each sign-in would be another person at the next one, who approves what the first requested (attack A326).
    """
    if hops and _TRANSIENT.match(hops[0].principal_id):
        return ""
    persons = {hop.principal_id for hop in hops if not hop.principal_id.startswith("AROA")}
    return hops[0].principal_id if hops and persons == {hops[0].principal_id} else ""


def _folded(text: str) -> str:
    return text.strip().casefold()
