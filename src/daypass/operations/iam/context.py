"""The inputs of an IAM operation. Look-ups are limited to the caller's account, except where AWS resolves foreign principals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from daypass.domain.claims import PrincipalKind
from daypass.operations.crud import operation as crud
from daypass.operations.crud.operation import AuthorizedResource, Context, Params
from daypass.operations.iam import faults
from daypass.operations.iam.builtin import Catalog
from daypass.ports import Ids, Tx

if TYPE_CHECKING:
    from daypass.ports import SamlMetadata, Sealer


@dataclass(frozen=True, slots=True)
class ReadContext(Context):
    """The context of a read."""

    builtin: Catalog
    saml_metadata: SamlMetadata
    public_url: str = field(default="", kw_only=True)  # of the installation; only for reads and `gather`

    def own_user_id(self) -> str:
        """The unique id of the calling user, when the request names none; the account id for the root.

        Raises VALIDATION when the caller is neither.
        """
        if self.caller.kind in (PrincipalKind.USER, PrincipalKind.ROOT):
            return self.caller.principal_id
        raise faults.invalid("Must specify userName when calling with non-User credentials")


@dataclass(frozen=True, slots=True)
class WriteContext(ReadContext):
    """The context of a write."""

    tx: Tx
    ids: Ids
    sealer: Sealer
    gathered: Any = None  # the result of the operation's `gather`


Operation: TypeAlias = crud.DirectoryOperation[ReadContext, WriteContext]
ResourceOf: TypeAlias = Callable[[ReadContext, Params], AuthorizedResource]
