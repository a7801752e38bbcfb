"""One-time proofs: the first insert of the replay entry consumes the proof, and a later one is refused."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.session import SessionClaims
from daypass.ports import Env, ProofUsed, Tx

CLIENT_ASSERTION: Final = "client_assertion"
DPOP: Final = "dpop"
_KINDS: Final[Mapping[str, ErrorKind]] = {
    CLIENT_ASSERTION: ErrorKind.INVALID_CLIENT,
    DPOP: ErrorKind.INVALID_DPOP_PROOF,
}
"""The refusal of a used proof, by its purpose."""

_DAY_MS: Final = 86_400_000
_EVERY: Final = 16  # one new entry of so many looks for expired ones
_EXPIRED: Final = 64  # of which it deletes so many: more than were inserted since


def consume(tx: Tx, entry: ReplayEntry) -> None:
    """Consumes a one-time proof and deletes some expired entries. Raises DaypassError for a proof that was used before:
    INVALID_IDENTITY_TOKEN, or the kind of its purpose.
    """
    if not tx.insert_if_absent(entry):
        raise used_before(entry)
    if zlib.crc32(entry.id.encode("utf-8", "surrogatepass")) % _EVERY == 0:
        for old in tx.find(ReplayEntry, order="expires_at", limit=_EXPIRED):
            if old.expires_at < entry.at - _DAY_MS:
                tx.delete(old)


async def commit_once(
    env: Env,
    event: Event,
    replays: Sequence[ReplayEntry],
    session: SessionClaims | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Records an event, the session that it issues, and the use of the proofs of its request in the same transaction.

    `meanwhile`: see `Journal.commit`. Raises DaypassError: UNAVAILABLE, and the kind of a proof that was used before.
    """
    try:
        await env.journal.commit(event, session, replays, meanwhile)
    except ProofUsed as error:
        raise used_before(error.entry) from None


def used_before(entry: ReplayEntry) -> DaypassError:
    """The refusal of a used proof."""
    return DaypassError(
        _KINDS.get(entry.purpose, ErrorKind.INVALID_IDENTITY_TOKEN),
        "The proof has been used before, and may be used once only.",
        private={"reason": "replay", "proof": entry.purpose},
    )
