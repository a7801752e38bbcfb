"""Revocations: how they are made and stored, by people, directories, deletions and the ends of grants.

The revocations of a subject are few, however often it is revoked: `store` replaces one that has done its work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from daypass.domain.directory import Revocation, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.principals import find_by_id
from daypass.ports import Ids, Reader, Tx

MAX_REVOCATIONS: Final = 10_000
"""Stored revocations of one account, for each kind of subject. They are deleted when they can no longer match a session."""

RESERVED: Final = 1_000
"""Additional revocations of each kind that only principals of the operator account can make, in other accounts."""

DEPROVISIONED: Final = "deprovisioned by SCIM"
"""The reason of a directory's revocations. When the directory activates the user again, it lifts their blocks."""


class Block(NamedTuple):
    """Whether new sessions are blocked, and until when (ms; None: without an end)."""

    blocks: bool = False
    until: int | None = None


NO_BLOCK: Final = Block()


def new_revocation(
    ids: Ids, owner: str, subject: tuple[str, str], *, now: int, by: str, reason: str, block: Block = NO_BLOCK
) -> Revocation:
    """A revocation of what began before `now` (ms). `subject`: its kind and canonical value. `by`: the ARN of who made it."""
    kind, value = subject
    return Revocation(
        id=ids.session(),
        account=owner,
        subject=kind,
        value=value,
        issued_before=now,
        created_at=now,
        block=block.blocks,
        block_until=block.until,
        reason=reason,
        created_by=by,
    )


def store(tx: Tx, wanted: Revocation, account: str) -> Revocation:
    """Stores a revocation made by a principal of `account`, and returns what is stored.

    It takes the place and the id of an earlier revocation of its subject that does not block. If the subject is blocked
    without an end, it has no session to end, and the block is returned. Raises DaypassError(LIMIT_EXCEEDED).
    """
    earlier = _of_subject(tx, wanted)
    if (block := permanent_block(earlier, wanted)) is not None:
        return block
    for revocation in earlier:
        if not revocation.blocks_at(wanted.created_at):
            ends = max(revocation.issued_before, wanted.issued_before)
            renewed = replace(wanted, id=revocation.id, position=revocation.position, issued_before=ends)
            tx.replace(renewed)
            return renewed
    temporary = wanted.block and wanted.block_until is not None
    if (earlier and temporary) or not _is_stored(tx, wanted):  # of the others, a subject has few
        _check_quota(tx, wanted, account)
    tx.insert(wanted)
    return wanted


def permanent_block(earlier: Iterable[Revocation], wanted: Revocation) -> Revocation | None:
    """The revocation that blocks the subject of `wanted` without an end: every session of it has ended already.

    A directory's own is sufficient for the directory alone, which can lift it (attack A204).
    """
    candidates = [
        revocation
        for revocation in earlier
        if revocation.block and revocation.block_until is None and revocation.created_at <= wanted.created_at
    ]
    if wanted.reason != DEPROVISIONED:
        candidates = [revocation for revocation in candidates if revocation.reason != DEPROVISIONED]
    return next(iter(candidates), None)


def block_of(tx: Reader, wanted: Revocation) -> Revocation | None:
    """The stored `permanent_block` of its subject."""
    return permanent_block(_of_subject(tx, wanted), wanted)


def lift_blocks(tx: Tx, deleted: User | Role, now: int) -> None:
    """Lifts the blocks of a principal that is deleted. Nobody gets its id again, and a block is stored until it is lifted."""
    for kind in ("principal", "role"):
        for revocation in tx.find(Revocation, account=deleted.account, subject=kind, value=deleted.id):
            if revocation.blocks_at(now):
                tx.replace(replace(revocation, block_until=now))


def _of_subject(tx: Reader, wanted: Revocation) -> list[Revocation]:
    return tx.find(Revocation, account=wanted.account, subject=wanted.subject, value=wanted.value)


def _is_stored(tx: Reader, wanted: Revocation) -> bool:
    """Whether the subject is an account, or a stored role or user of it: the number of these has a separate quota."""
    if wanted.subject not in ("role", "principal"):
        return wanted.subject == "account"
    found = find_by_id(tx, wanted.value)
    return found is not None and found.account == wanted.account


def _check_quota(tx: Reader, wanted: Revocation, account: str) -> None:
    quota = MAX_REVOCATIONS + (RESERVED if account != wanted.account else 0)
    if tx.count(Revocation, account=wanted.account, subject=wanted.subject) >= quota:
        raise DaypassError(
            ErrorKind.LIMIT_EXCEEDED,
            f"The account has {quota:,} revocations of the kind {wanted.subject}, which is the quota. Revoke more at "
            "once: a user, a role, or the account itself, which is possible beyond the quota.",
        )
