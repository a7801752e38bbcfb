"""Tokens for other clouds that are still valid: a revocation does not reach them, so an offboarding lists them.

They are found on the record, because they are not stored. The work is bounded, and never prevents an offboarding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from daypass.domain.errors import ErrorKind, ignored
from daypass.domain.events import EventType
from daypass.operations.oauth.web_identity_token import MAX_SECONDS
from daypass.operations.record.explore import pages_of
from daypass.ports import Env, RecordFilter, Viewer

MAX_RECORDS: Final = 10_000
"""Maximum number of records examined."""
_PAGE: Final = 1_000


class OutstandingToken(NamedTuple):
    """A token that services outside accept until `expires_at` (ms)."""

    jti: str
    subject: str  # ARN
    audiences: tuple[str, ...]
    expires_at: int


class Outstanding(NamedTuple):
    """The tokens; there may be more when not `complete`."""

    tokens: tuple[OutstandingToken, ...]
    complete: bool


async def outstanding_tokens(env: Env, account: str, subjects: Collection[tuple[str, str]]) -> Outstanding | None:
    """The valid tokens of these subjects of the account, as (kind, value) of a revocation; None when the database cannot
    answer.
    """
    now = env.clock.now()
    query = RecordFilter(
        account=account, type=EventType.WEB_IDENTITY_ISSUED.value, since=now - 1000 * MAX_SECONDS, limit=_PAGE
    )
    found: list[OutstandingToken] = []
    looked_at = 0
    with ignored(ErrorKind.UNAVAILABLE):
        async for page in pages_of(env, Viewer(account), query):
            looked_at += len(page)
            tokens = (_token(view.body or {}, subjects) for view in page)
            found += [token for token in tokens if token is not None and token.expires_at > now]
            if looked_at >= MAX_RECORDS:
                return Outstanding(tuple(found), complete=False)
        return Outstanding(tuple(found), complete=True)
    return None


def _token(body: Mapping[str, Any], subjects: Collection[tuple[str, str]]) -> OutstandingToken | None:
    actor, detail = body.get("actor", {}), body.get("detail", {})
    origin = actor.get("origin", {})
    named = {
        *(("principal", principal) for principal in detail.get("principals", ())),
        ("access_key", actor.get("access_key_id")),
        ("access_key", origin.get("access_key_id")),
        ("source_identity", actor.get("source_identity")),
    }
    if named.isdisjoint(subjects):
        return None
    return OutstandingToken(
        detail.get("jti", ""), actor.get("arn", ""), tuple(detail.get("audience", ())), detail.get("expires_at", 0)
    )
