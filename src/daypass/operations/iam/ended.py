"""Ends the sessions of a user or role in the transaction that deletes it.

Servers refuse them in any case, because the principal is gone. The revocation also ends sessions made from them, reaches
verifiers that accept access tokens without asking a server, and shows the sessions as ended.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.directory import Revocation, Role, User
from daypass.operations.iam.context import WriteContext
from daypass.operations.revocation import lift_blocks, new_revocation, store

MAX_STORED: Final = 9_000
"""Beyond this number of stored revocations of principals none is added: deletions must never use up the quota."""


def end_sessions(ctx: WriteContext, deleted: User | Role) -> None:
    """Revokes all sessions that the principal has, or that were made from them, when it is deleted."""
    lift_blocks(ctx.tx, deleted, ctx.now)
    if ctx.tx.count(Revocation, account=deleted.account, subject="principal") >= MAX_STORED:
        return
    kind = "role" if isinstance(deleted, Role) else "user"
    reason = f"the {kind} {deleted.name} was deleted"
    subject = ("principal", deleted.id)
    revocation = new_revocation(ctx.ids, deleted.account, subject, now=ctx.now, by=ctx.caller.arn, reason=reason)
    store(ctx.tx, revocation, ctx.account)
