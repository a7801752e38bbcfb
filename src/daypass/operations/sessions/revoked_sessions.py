"""Counts the active sessions that revocations ended: for display, and to check that a value is known.

The work is bounded and comes after the revocation, which never waits for it. A count that fails is unknown, not zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from daypass.domain.directory import Revocation
from daypass.domain.errors import ErrorKind, ignored
from daypass.domain.revocation_index import RevocationIndex
from daypass.domain.session import SessionClaims
from daypass.ports import Env

MAX_SESSIONS: Final = 20_000
"""Maximum number of active sessions examined."""
MAX_SECONDS: Final = 0.5
"""How long counting may take."""


class Ended(NamedTuple):
    """`sessions` active sessions match; there may be more when not `complete`. `last_expiry`: of those, in ms; 0 for none.

    A verifier that does not follow revocations accepts access tokens of these sessions until then.
    """

    sessions: int
    complete: bool
    last_expiry: int = 0


async def count_ended(
    env: Env,
    revocations: Sequence[Revocation],
    before: Sequence[Revocation],
    *,
    most: int = MAX_SESSIONS,
    seconds: float = MAX_SECONDS,
) -> Ended | None:
    """The active sessions, in any account, that `revocations` end; None when none was found and not all were examined.

    `before`: the revocations that were known before. A session that one of them ended is not counted.
    """
    index, earlier = RevocationIndex(), _Earlier(before, env.directory.seen().epoch)
    for revocation in revocations:
        index.add(revocation)
    count = looked_at = last_expiry = 0
    complete = False
    with ignored(ErrorKind.UNAVAILABLE, ErrorKind.THROTTLED):
        try:
            async with asyncio.timeout(seconds):
                async for claims in env.records.may_be_ended(revocations, most + 1):
                    if index.revoked(claims) is not None and not earlier.ended(claims):
                        count += 1
                        last_expiry = max(last_expiry, claims.expires_at)
                    looked_at += 1
                complete = looked_at <= most
        except TimeoutError:
            pass
    return Ended(count, complete, last_expiry) if complete or count else None


class _Earlier:
    """Earlier revocations, by their values: of an account's many, few are about one session."""

    def __init__(self, revocations: Sequence[Revocation], epoch: str) -> None:
        self._epoch = epoch
        self._by_value: dict[str, list[Revocation]] = {}
        for revocation in revocations:
            self._by_value.setdefault(revocation.value, []).append(revocation)

    def ended(self, claims: SessionClaims) -> bool:
        values = {claims.source_identity}
        for hop in claims.hops:
            values |= {hop.session_id, hop.account, hop.principal_id, hop.access_key_id, hop.grant_id, hop.client_id}
        index = RevocationIndex(self._epoch)
        for value in values & self._by_value.keys():
            for revocation in self._by_value[value]:
                index.add(revocation)
        return index.revoked(claims) is not None
