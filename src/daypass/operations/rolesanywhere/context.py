"""The inputs of an operation of IAM Roles Anywhere. Every look-up is limited to the caller's account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from daypass.domain.arn import read_arn
from daypass.domain.directory import Crl, TrustAnchor, X509Profile, X509Subject
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations import crud
from daypass.operations.crud import AuthorizedResource, Context, Params
from daypass.ports import Ids, Tx

if TYPE_CHECKING:
    from daypass.ports import X509Verifier


Entity: TypeAlias = TrustAnchor | X509Profile | Crl | X509Subject
E = TypeVar("E", TrustAnchor, X509Profile, Crl, X509Subject)

RESOURCES: Mapping[type[Any], tuple[str, str]] = {
    TrustAnchor: ("trust-anchor", "TrustAnchor"),
    X509Profile: ("profile", "Profile"),
    Crl: ("crl", "Crl"),
    X509Subject: ("subject", "Subject"),
}
"""The name of each kind in ARNs and messages."""


@dataclass(frozen=True, slots=True)
class AnchorReadContext(Context):
    """The context of a read."""

    certificates: X509Verifier

    def arn(self, kind: type[Any], identifier: str) -> str:
        """The ARN of an entity that does not exist (yet): in the caller's account and the request's region."""
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
            raise no_such(RESOURCES[kind][1], identifier)
        return found


@dataclass(frozen=True, slots=True)
class AnchorWriteContext(AnchorReadContext):
    """The context of a write."""

    tx: Tx
    ids: Ids


def _id_of(identifier: str, noun: str) -> str:
    """The id in an ARN of this kind of resource; any other text is returned unchanged."""
    if not identifier.startswith("arn:"):
        return identifier
    arn = read_arn(identifier)
    kind, _, found = arn.resource.partition("/") if arn is not None else ("", "", "")
    return found if kind == noun else ""


Operation: TypeAlias = crud.DirectoryOperation[AnchorReadContext, AnchorWriteContext]
ResourceOf: TypeAlias = Callable[[AnchorReadContext, Params], AuthorizedResource]


# --- The errors of IAM Roles Anywhere, in one place


CHANGED: Final = "The resource is being changed by another request."


def no_such(kind: str, identifier: str) -> DaypassError:
    """`kind` is "TrustAnchor", "Profile", "Crl", "Subject"; the identifier is from the request."""
    return DaypassError(ErrorKind.NOT_FOUND, f"{kind} with id {identifier[:256]} was not found.")


def invalid(message: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, message)


def unsupported(what: str) -> DaypassError:
    """A member of the service model that would have no effect here is refused rather than ignored."""
    return invalid(f"{what} is not supported.")
