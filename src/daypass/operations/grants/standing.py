"""Whether who voted still stands: the one place that says so, when the vote is cast and at each use of what it gave.

What takes the credentials of a vote from somebody takes the vote: otherwise votes with stolen ones would outlast them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from daypass.domain.directory import AccessKey, ChatLink, KeyStatus, OAuthClient
from daypass.domain.session import Hop
from daypass.operations.grants.facts import is_disabled, is_stopped
from daypass.ports import Reader


def stands(tx: Reader, hops: Sequence[Hop], identifiers: Iterable[str], now: int, chat: str = "") -> bool:
    """Whether nothing has disabled, blocked or revoked the chain of a vote, or taken its key, client or chat user away.

    `identifiers`: of the person. `chat`: the chat user who voted, or "".
    """
    ids = tuple(dict.fromkeys(hop.principal_id for hop in hops))
    if is_disabled(tx, ids) or is_stopped(tx, hops, now, identifiers):
        return False
    return all(_has_credentials(tx, hop) for hop in hops) and (not chat or _is_linked(tx, hops[0], chat))


def _has_credentials(tx: Reader, hop: Hop) -> bool:
    """Whether the access key is active and the OAuth client enabled, if the hop has one (attack A328)."""
    if hop.access_key_id.startswith("AKIA"):
        key = tx.get(AccessKey, id=hop.access_key_id)
        if key is None or key.status is not KeyStatus.ACTIVE:
            return False
    client = tx.get(OAuthClient, id=hop.client_id) if hop.client_id else None
    return client is None or client.enabled


def _is_linked(tx: Reader, hop: Hop, chat: str) -> bool:
    link = tx.get(ChatLink, account=hop.account, id=chat)
    return link is not None and link.user_id == hop.principal_id
