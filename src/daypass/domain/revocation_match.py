"""Match ids: how verifiers elsewhere compare revocations with the hops of an access token.

A token names the subjects of its chain only by match ids, so that a service does not learn the access keys and session
ids behind the session. A revocation is distributed with the match id of its subject.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import astuple

from daypass.domain.directory import Revocation
from daypass.domain.encoding import base64url
from daypass.domain.revocation_index import SUBJECT_TABLES
from daypass.domain.session import Hop, SessionClaims

_BYTES: Final = 9
"""Of a match id: 12 characters as base64url."""
_TABLES: Final = ("session", "principal", "access_key", "account", "grant", "client", "source_identity")


@lru_cache(maxsize=8192)
def _match_id(table: str, account: str, value: str) -> str:
    digest = sha256(f"daypass revocation|{table}|{account}|{value}".encode("utf-8", "surrogatepass")).digest()
    return base64url(digest[:_BYTES])


def match_id(revocation: Revocation) -> str:
    """The match id of a revocation's subject. Only hops of the revocation's account can have it."""
    return _match_id(SUBJECT_TABLES[revocation.subject], revocation.account, revocation.value)


def what_ends(revocation: Revocation) -> dict[str, Any]:
    """A revocation without its reason and maker, which are for its account's own people."""
    return {
        "id": revocation.id,
        "account": revocation.account,
        "subject": revocation.subject,
        "value": revocation.value,
        "match": match_id(revocation),
        "position": revocation.position,
        "issued_before": revocation.issued_before,
        "created_at": revocation.created_at,
        "block": revocation.block,
        "block_until": revocation.block_until,
    }


def hop_claims(session: SessionClaims) -> list[list[Any]]:
    """The hops of a session as an access token shows them, each with the match ids of its subjects, joined.

    Each is [account, issued at (ms), epoch, position, match ids].
    """
    return [_hop(hop, session.source_identity) for hop in session.hops]


def _hop(hop: Hop, source_identity: str) -> list[Any]:
    session_id, account, principal_id, issued_at, seen, key_id, _, grant_id, client_id = astuple(hop)
    values = session_id, principal_id, key_id, account, grant_id, client_id, source_identity
    ids = "".join([_match_id(table, account, value) for table, value in zip(_TABLES, values, strict=True) if value])
    return [account, issued_at, *seen, ids]
