"""The context in which operations of IAM read and write, and their changes of the directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Revocation, Role, User
from daypass.domain.errors import DaypassError, ErrorKind, replaced
from daypass.operations import crud
from daypass.operations.crud import AuthorizedResource, Context, Params
from daypass.operations.iam import faults
from daypass.operations.iam.builtin import Catalog
from daypass.operations.revocation import lift_blocks, new_revocation, store
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


# --- The steps that several writes share


MAX_STORED: Final = 9_000
"""Beyond this number of stored revocations of principals `end_sessions` adds none: deletions must never use up the quota."""

_RESERVED: Final = {"/aws-service-role/": "AWS Service linked Roles", "/aws-reserved/": "AWS reserved entities"}
"""Prefixes of paths that AWS reserves. Source: IAM User Guide, "IAM identifiers"; the message is AWS's for roles."""


def insert(ctx: WriteContext, entity: Any, taken: DaypassError) -> None:
    """Inserts an entity. Raises `taken` when another one has the name."""
    with replaced(ErrorKind.ALREADY_EXISTS, taken):
        ctx.tx.insert(entity)


def replace(ctx: WriteContext, entity: Any, taken: DaypassError) -> None:
    """Stores an entity under a new name. Raises `taken` when another one has it."""
    with replaced(ErrorKind.ALREADY_EXISTS, taken):
        ctx.tx.replace(entity)


def within_quota(ctx: WriteContext, kind: type[Any], quota: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` such entities."""
    if ctx.tx.count(kind, **equals) >= limit:
        raise faults.over_quota(quota, limit)


def path_of(p: Params, member: str = "Path", default: str = "/") -> str:
    """The path of a new or renamed entity, from the request. Raises DaypassError(INVALID_INPUT) for a path reserved by AWS."""
    path: str = p.get(member) or default
    for prefix, owners in _RESERVED.items():
        if path.lower().startswith(prefix) and path != default:
            raise DaypassError(ErrorKind.INVALID_INPUT, f"Path prefix '{prefix}' can only be used for {owners}")
    return path


def end_sessions(ctx: WriteContext, deleted: User | Role) -> None:
    """Revokes all sessions that a principal has, or that were made from them, in the transaction that deletes it.

    Servers refuse them in any case, because the principal is gone. The revocation also ends sessions made from them,
    reaches verifiers that accept access tokens without asking a server, and shows the sessions as ended.
    """
    lift_blocks(ctx.tx, deleted, ctx.now)
    if ctx.tx.count(Revocation, account=deleted.account, subject="principal") >= MAX_STORED:
        return
    kind = "role" if isinstance(deleted, Role) else "user"
    reason = f"the {kind} {deleted.name} was deleted"
    subject = ("principal", deleted.id)
    revocation = new_revocation(ctx.ids, deleted.account, subject, now=ctx.now, by=ctx.caller.arn, reason=reason)
    store(ctx.tx, revocation, ctx.account)
