"""Counts the active sessions that a revocation ends: for display, and to check that a value is known.

The work is bounded. It must never prevent a revocation: a count that fails is unknown, not zero.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.revocation_index import RevocationIndex
from daypass.ports import Env, SessionFilter, Viewer

MAX_SESSIONS = 20_000
"""Maximum number of active sessions examined."""
MAX_MS = 500
"""How long counting may delay a revocation."""
_PAGE = 250


class Ended(NamedTuple):
    """`sessions` active sessions match; there may be more when not `complete`. `last_expiry`: of those, in ms; 0 for none.

    A verifier that does not follow revocations accepts access tokens of these sessions until then.
    """

    sessions: int
    complete: bool
    last_expiry: int = 0


async def count_ended(env: Env, account: str, revocations: Collection[Revocation]) -> Ended | None:
    """The active sessions, in any account, that `revocations` of `account` end; None when the database cannot answer."""
    index = RevocationIndex()
    for revocation in revocations:
        index.add(revocation)
    viewer = Viewer(account, operator=True)  # a chain may include other accounts; only its length is shown
    query = SessionFilter(active=True, limit=_PAGE)
    count = looked_at = last_expiry = 0
    began = env.clock.now()
    try:
        while looked_at < MAX_SESSIONS and env.clock.now() - began < MAX_MS:
            page, following = await env.records.sessions(viewer, query, urgent=True)
            ended = [view.claims.expires_at for view in page if index.revoked(view.claims) is not None]
            count += len(ended)
            last_expiry = max((last_expiry, *ended))
            looked_at += len(page)
            if following is None:
                return Ended(count, complete=True, last_expiry=last_expiry)
            query = SessionFilter(active=True, limit=_PAGE, before=following)
    except DaypassError as error:
        if error.kind not in (ErrorKind.UNAVAILABLE, ErrorKind.THROTTLED):
            raise
        return None
    return Ended(count, complete=False, last_expiry=last_expiry)
