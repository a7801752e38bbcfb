"""What an operation of IAM Roles Anywhere is given, and what a row of the table says about one.

As in `operations.iam`: synchronous and pure but for the reader or transaction they are given, run on a store thread, a
write perhaps more than once. Every look-up is limited to the caller's account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from daypass.domain.arn import parse_arn
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.directory import Crl, Tags, TrustAnchor, X509Profile, X509Subject
from daypass.domain.policy.model import Value
from daypass.operations.rolesanywhere import faults
from daypass.ports import CertificateVerifier, Ids, Reader, Tx

Params: TypeAlias = Mapping[str, Any]
"""A request's parameters by the member names of the service model; blobs are bytes."""

Answer: TypeAlias = Mapping[str, Any]
"""An answer by the output member names of the service model; times are integers of milliseconds, blobs bytes."""

Entity: TypeAlias = TrustAnchor | X509Profile | Crl | X509Subject
E = TypeVar("E", TrustAnchor, X509Profile, Crl, X509Subject)

RESOURCES: Mapping[type[Any], tuple[str, str]] = {
    TrustAnchor: ("trust-anchor", "TrustAnchor"),
    X509Profile: ("profile", "Profile"),
    Crl: ("crl", "Crl"),
    X509Subject: ("subject", "Subject"),
}
"""How ARNs and messages name each kind."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a read may use."""

    tx: Reader
    caller: Caller
    facts: RequestFacts
    now: int  # ms
    certificates: CertificateVerifier

    @property
    def account(self) -> str:
        return self.caller.account

    def arn(self, kind: type[Any], identifier: str) -> str:
        """The ARN of something that is not there (yet): in the caller's account and the request's region."""
        noun = RESOURCES[kind][0]
        return f"arn:aws:rolesanywhere:{self.facts.region}:{self.account}:{noun}/{_id_of(identifier, noun)}"

    def get(self, kind: type[E], identifier: str) -> E | None:
        """The entity of the caller's account with this id or ARN."""
        found = self.tx.get(kind, id=_id_of(identifier, RESOURCES[kind][0]), account=self.account)
        if found is not None and identifier.startswith("arn:") and found.arn != identifier:
            return None
        return found

    def find(self, kind: type[E], identifier: str) -> E:
        """The same. Raises NOT_FOUND."""
        found = self.get(kind, identifier)
        if found is None:
            raise faults.no_such(RESOURCES[kind][1], identifier)
        return found


@dataclass(frozen=True, slots=True)
class Work(Look):
    """What a write may use."""

    tx: Tx
    ids: Ids


def _id_of(identifier: str, noun: str) -> str:
    """The id in an ARN of this kind of resource; whatever else it is, itself."""
    if not identifier.startswith("arn:"):
        return identifier
    try:
        resource = parse_arn(identifier).resource
    except ValueError:
        return ""
    kind, _, found = resource.partition("/")
    return found if kind == noun else ""


@dataclass(frozen=True, slots=True)
class Also:
    """A further permission that the operation takes."""

    action: str
    arn: str
    context: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is acted on, as policies see it; `tags` are those that it has now."""

    arn: str
    tags: Tags = ()
    also: tuple[Also, ...] = ()


SubjectOf: TypeAlias = Callable[[Look, Params], Subject]
KeysOf: TypeAlias = Callable[[Params], Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table: exactly one of `read` and `write`.

    `check` refuses, before the write and off its thread, what costs time to find out; what it says is kept until the
    caller has been authorized.
    """

    name: str
    subject: SubjectOf
    read: Callable[[Look, Params], Answer] | None = None
    write: Callable[[Work, Params], Answer] | None = None
    keys: tuple[KeysOf, ...] = ()
    check: Callable[[Look, Params], object] | None = None

    @property
    def action(self) -> str:
        return f"rolesanywhere:{self.name}"
