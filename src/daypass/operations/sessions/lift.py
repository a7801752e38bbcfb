"""Lifts a block: the subject of a revocation may get new sessions again.

The sessions that the revocation ended stay ended. Like the revocation, the change reaches every other process through
the change feed. In AWS a block is a deny in an inline policy of the role, so lifting one also needs permission to
delete that.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.arn import role_arn
from daypass.domain.directory import Revocation, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.operations.management import InAws, allow, is_operator
from daypass.operations.outcome import served
from daypass.operations.principals import arn_of_principal
from daypass.operations.sessions.revoke import check_reason
from daypass.operations.sessions.subjects import resource_of, tags_of_principal
from daypass.ports import Call, Env, Reader, Tx


async def lift_block(env: Env, call: Call, revocation_id: str, reason: str = "") -> Revocation:
    """daypass:LiftBlock on `KIND/VALUE` of the blocked subject, with iam:DeleteRolePolicy on the affected roles.

    Returns the revocation after the change.

    Raises DaypassError: ACCESS_DENIED; NOT_FOUND, also for those of other accounts; VALIDATION when it does not block.
    """
    check_reason(reason)
    revocation = await _visible(env, call, revocation_id)
    if revocation is None:
        await _allow_any(env, call, revocation_id)
        raise _missing(revocation_id)
    kind, name = resource_of(revocation.subject, revocation.value)
    in_aws, arn = await _in_aws(env, revocation, kind, call.caller.account)
    try:
        decision = await allow(env, call, "LiftBlock", kind, name, revocation.account, in_aws=in_aws)
    except DaypassError:
        await _allow_any(env, call, revocation_id)  # a caller that may lift no block must not learn the subject
        raise
    detail = {
        "revocation": revocation.id,
        "subject": revocation.subject,
        "value": revocation.value,
        **({"arn": arn} if arn else {}),
        "block_until_before": revocation.block_until,
        "reason": reason,
    }
    event = served(call, kind=EventType.BLOCK_LIFTED, account=revocation.account, decision=decision, detail=detail)

    def change(tx: Tx) -> Revocation:
        stored = tx.get(Revocation, id=revocation.id)
        if stored is None:
            raise _missing(revocation_id)
        if not stored.blocks_at(call.now):
            raise DaypassError(ErrorKind.VALIDATION, f"Revocation {revocation.id} does not block anyone.")
        lifted = replace(stored, block_until=call.now)
        tx.replace(lifted)
        return lifted

    return await env.journal.write(lambda tx: (change(tx), event), account=call.caller.account, urgent=True)


async def _allow_any(env: Env, call: Call, revocation_id: str) -> None:
    """Refuses those who may lift no block of their account, alike for one that exists and one that does not."""
    await allow(env, call, "LiftBlock", "revocation", revocation_id, in_aws=InAws(_every_role(call.caller.account)))


async def _visible(env: Env, call: Call, revocation_id: str) -> Revocation | None:
    """The revocation, if it belongs to the caller's account or the caller to the operator account."""
    revocation = await env.directory.read(
        lambda tx: tx.get(Revocation, id=revocation_id), account=call.caller.account, urgent=True
    )
    if revocation is None or revocation.account == call.caller.account or await is_operator(env, call.caller):
        return revocation
    return None


async def _in_aws(env: Env, revocation: Revocation, kind: str, account: str) -> tuple[InAws, str]:
    """The roles that may be assumed again: the blocked role, otherwise any role of the account. With the tags of the
    blocked role or user. And the ARN of whom the revocation is about; "": none.
    """

    def query(tx: Reader) -> tuple[InAws, str]:
        role = tx.get(Role, id=revocation.value) if kind == "role" else None
        tags = tags_of_principal(tx, revocation.value) if kind in ("role", "principal") else ()
        arn = arn_of_principal(tx, revocation.value) if kind in ("role", "principal") else ""
        return InAws(role.arn if role is not None else _every_role(revocation.account), tags=tags), arn

    return await env.directory.read(query, account=account, urgent=True)


def _every_role(account: str) -> str:
    return role_arn(account, "/", "*")


def _missing(revocation_id: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The revocation {revocation_id} cannot be found.")
