"""Which revocations end a session, and which block new ones. This module is pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import astuple

from daypass.domain.directory import Revocation
from daypass.domain.jws import base64url
from daypass.domain.session import LONGEST_SESSION_MS, Hop, SessionClaims

_EVER = 2**63
_KEEP_MS = LONGEST_SESSION_MS + 24 * 3600 * 1000  # one day more, for issuers that receive it late

# Roles and principals are both named by their unique ids.
SUBJECT_TABLES = {
    "session": "session",
    "role": "principal",
    "principal": "principal",
    "access_key": "access_key",
    "account": "account",
    "source_identity": "source_identity",
    "grant": "grant",
    "client": "client",
}


def revoked_by(revocation: Revocation, hop: Hop, epoch: str) -> bool:
    """Whether a hop that `revocation` names was made before it. Every session with this hop is then revoked.

    The matching hop is compared, not the session's own hop. Sessions made from an ancestor that was issued before the
    revocation are revoked; those made from an ancestor that was issued after it are not. Positions of different
    database epochs cannot be compared: such a hop counts as older. So does any hop while the revocation has no position
    yet. Too many sessions may be revoked, never too few.
    """
    if hop.seen.epoch != epoch or hop.seen.position < _effective_position(revocation):
        return True
    return hop.issued_at < revocation.issued_before


def is_spent(revocation: Revocation, now: int) -> bool:
    """Whether every session that this revocation could end has expired, and it no longer blocks its subject."""
    return (
        not revocation.blocks_at(now)
        and revocation.position > 0
        and max(revocation.created_at, revocation.issued_before) + _KEEP_MS <= now
    )


class _Subject:
    """All revocations of one subject by one account, and those with the widest effect."""

    __slots__ = ("block", "block_until", "by_id", "furthest", "latest")

    def __init__(self, first: Revocation) -> None:
        self.by_id: dict[str, Revocation] = {}
        self.furthest = self.latest = first
        self.block: Revocation | None = None
        self.block_until = 0
        self.add(first)

    def add(self, revocation: Revocation) -> None:
        self.by_id[revocation.id] = revocation
        self.furthest = max(self.furthest, revocation, key=_effective_position)
        self.latest = max(self.latest, revocation, key=lambda r: r.issued_before)
        if revocation.block and _block_end(revocation) > self.block_until:
            self.block, self.block_until = revocation, _block_end(revocation)

    def revocation_of(self, hop: Hop, epoch: str) -> Revocation | None:
        if revoked_by(self.furthest, hop, epoch):
            return self.furthest
        return self.latest if hop.issued_at < self.latest.issued_before else None


def _effective_position(revocation: Revocation) -> int:
    return revocation.position if revocation.position > 0 else _EVER


def _block_end(revocation: Revocation) -> int:
    return _EVER if revocation.block_until is None else revocation.block_until


class RevocationIndex:
    """The revocations that may still apply. The time of a look-up depends only on the number of hops.

    `epoch` is the epoch of the database whose feed assigned the positions. Set it when it becomes known and when it
    changes. Not safe for concurrent use by multiple threads.
    """

    def __init__(self, epoch: str = "") -> None:
        self.epoch = epoch
        self._count = 0
        self._tables: dict[str, dict[str, dict[str, _Subject]]] = {table: {} for table in SUBJECT_TABLES.values()}

    def __len__(self) -> int:
        return self._count

    def add(self, revocation: Revocation) -> None:
        """Adds a revocation, replacing an earlier one with the same id. Raises ValueError for an unknown kind of subject."""
        if revocation.subject not in SUBJECT_TABLES or not revocation.value:
            raise ValueError(f"a revocation of nobody: {revocation.subject!r} {revocation.value!r}")
        self.remove(revocation)  # the same one again, perhaps with a position now
        owners = self._tables[SUBJECT_TABLES[revocation.subject]].setdefault(revocation.value, {})
        if revocation.account in owners:
            owners[revocation.account].add(revocation)
        else:
            owners[revocation.account] = _Subject(revocation)
        self._count += 1

    def remove(self, revocation: Revocation) -> None:
        """Removes a revocation; an unknown one is ignored."""
        table = self._tables.get(SUBJECT_TABLES.get(revocation.subject, ""), {})
        owners = table.get(revocation.value, {})
        subject = owners.get(revocation.account)
        if subject is None or revocation.id not in subject.by_id:
            return
        self._count -= 1
        del owners[revocation.account], subject.by_id[revocation.id]
        if subject.by_id:
            first, *rest = subject.by_id.values()
            owners[revocation.account] = _Subject(first)
            for other in rest:
                owners[revocation.account].add(other)
        elif not owners:
            del table[revocation.value]

    def remove_spent(self, now: int) -> int:
        """Removes the revocations that no longer apply; returns their number."""
        every = [s for table in self._tables.values() for owners in table.values() for s in owners.values()]
        spent = [r for subject in every for r in subject.by_id.values() if is_spent(r, now)]
        for revocation in spent:
            self.remove(revocation)
        return len(spent)

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        """The revocation that ended this session, if any."""
        return self.revoked_by(claims.hops, claims.source_identity) if self._count else None

    def revoked_by(self, hops: Sequence[Hop], source_identity: str) -> Revocation | None:
        """The revocation that ended a session with these hops and this source identity, if any."""
        if not self._count:
            return None
        for subject, hop in self._matches(hops, source_identity):
            revocation = subject.revocation_of(hop, self.epoch)
            if revocation is not None:
                return revocation
        return None

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """A revocation that blocks new sessions for a subject in these hops.

        Pass the chain of the session to be issued, including its own hop, so that a blocked role or account gets no
        session either.
        """
        if not self._count:
            return None
        for subject, _hop in self._matches(hops, source_identity):
            if subject.block_until > now:
                return subject.block
        return None

    def _matches(self, hops: Sequence[Hop], source_identity: str) -> Iterator[tuple[_Subject, Hop]]:
        """Every revoked subject that names a hop, with that hop. Only the account that owns a hop can name it.

        The source identity belongs to the whole session: it matches every hop of the owning account.
        """
        tables = self._tables
        sessions, principals, keys, accounts, grants, clients = map(
            tables.__getitem__, ("session", "principal", "access_key", "account", "grant", "client")
        )
        identity = tables["source_identity"].get(source_identity)
        for hop in hops:
            for owners in (
                sessions.get(hop.session_id),
                principals.get(hop.principal_id),
                keys.get(hop.access_key_id),
                accounts.get(hop.account),
                grants.get(hop.grant_id),
                clients.get(hop.client_id),
                identity,
            ):
                if owners is not None and hop.account in owners:
                    yield owners[hop.account], hop


# --- Match ids: how verifiers elsewhere compare revocations with the hops of an access token


_BYTES: Final = 9
"""Bytes of a match id: 12 characters as base64url."""
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
