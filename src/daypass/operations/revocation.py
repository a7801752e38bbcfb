"""New revocations, which people ask for and which deletions and ends of grants make."""

from __future__ import annotations

from typing import Final, NamedTuple

from daypass.domain.directory import Revocation
from daypass.ports import Ids


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
