"""The exact request, as it is approved, and its digest.

An approval is bound to the digest of the terms and to the versions of each role and its rule. Any change of these gives
another digest, so that the approval no longer counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain.directory import AccessRequest
from daypass.domain.policy.model import Value

MAX_ROLES = 10
MAX_REASON = 1024
MAX_TICKET = 128


class RoleRef(Struct, frozen=True):
    """A role of a request. A recreated role with the same name has another id."""

    arn: str
    id: str


class Terms(Struct, frozen=True, omit_defaults=True):
    """The terms of a request.

    Attributes:
        requester, beneficiary: ARNs; the second gets the grants.
        seconds: duration from the first use.
        policy: the text of a scope-down policy, or "".
        starts_at: ms; 0: at once.
        max_uses: sessions for each role; 0: any number.
        extends: id of the request whose access is to last longer; "": none.
        rules: names of the rules under which the roles are requested, in the order of `roles`.
        rule_digests: the versions of these rules whose limits and conditions were tested.
        accepted_at: ms; when the beneficiary accepted what somebody else requested; 0: nobody else did.
    """

    requester: str
    beneficiary: str
    roles: tuple[RoleRef, ...]
    reason: str
    seconds: int
    ticket: str = ""
    policy: str = ""
    starts_at: int = 0
    max_uses: int = 0
    break_glass: bool = False
    extends: str = ""
    rules: tuple[str, ...] = ()
    rule_digests: tuple[str, ...] = ()
    accepted_at: int = 0


def keys_of(terms: Terms, risk: int) -> dict[str, Value]:
    """The context keys of a request that is stored, lower-cased."""
    ticket: dict[str, Value] = {"daypass:ticketid": terms.ticket} if terms.ticket else {}
    return {**ticket, "daypass:riskscore": str(risk)}


class Version(NamedTuple):
    """The version of a role and of its rule."""

    role_id: str
    role_digest: str
    rule: str
    rule_digest: str


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Terms).decode


def encode(terms: Terms) -> str:
    """The canonical text."""
    return _encode(terms).decode()


def decode(document: str) -> Terms:
    """The terms of a stored text. Raises ValueError."""
    return _decode(document)


def waiting_since(request: AccessRequest) -> int:
    """When (ms) approvers could decide: approvers cannot before the beneficiary accepts (attack A336)."""
    return decode(request.document).accepted_at or request.created_at


def digest(value: Any) -> str:
    """SHA-256, in hex, of a text or of the canonical JSON of another value."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else _encode(value)
    return hashlib.sha256(data).hexdigest()


def binding_of(terms_digest: str, versions: Iterable[Version]) -> str:
    """The digest of the exact request and of the versions of its roles and rules.

    A vote is bound to that of all roles, a grant to that of its own role.
    """
    return digest([terms_digest, sorted(tuple(version) for version in versions)])
