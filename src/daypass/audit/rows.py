"""Converts events and sessions to rows that are ready to be stored. This happens once, on the caller's side of the
journal's queue.

Searchable columns are sanitised copies; the event's bytes are authoritative. No input of a caller may produce a row
that a database refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple, replace

from daypass.audit.columns import LARGEST, bounded, id_key, record_columns, searchable
from daypass.audit.format import leaf_hash
from daypass.domain.events import Event, SessionRecord, decode, encoded
from daypass.domain.session import SessionClaims, chain_depth

_SHORT = 256

SessionRow: TypeAlias = tuple[Any, ...]
"""The columns of `sessions`, without `log` and `seq`, in the order of `SESSION_FIELDS`."""

SESSION_FIELDS = (
    "session_id",
    "account",
    "kind",
    "principal_id",
    "root_principal_id",
    "issued_at",
    "expires_at",
    "depth",
)


class EventRow(Struct, frozen=True):
    """A record without its log and sequence number: its searchable columns, its canonical bytes and their leaf hash."""

    at: int
    type: str
    account: str
    actor_account: str
    operation: str
    access_key_id: str
    error: str
    request_key: int | None
    session_key: int | None
    data: bytes
    leaf: bytes


def event_row(event: Event) -> EventRow:
    """Encodes and hashes an event. Parts that cannot be encoded are left out of the record."""
    try:
        data, whole = encoded(event)
    except (TypeError, ValueError, RecursionError) as failure:
        unencodable = {"unencodable": type(failure).__name__}
        data, whole = encoded(replace(event, decision=None, detail=unencodable))
    actor = event.actor
    values = (
        event.type._value_,  # before Python 3.12 `value` runs Python code
        event.account,
        actor.get("account", ""),
        event.operation,
        actor.get("access_key_id", ""),
        event.error,
    )
    ids = (event.request_id, event.session_id)
    if not whole or not 0 <= event.at <= LARGEST or not _usual((*values, *ids)):
        return _row_of(data)
    return EventRow(event.at, *values, id_key(ids[0]), id_key(ids[1]), data, leaf_hash(data))


def _row_of(data: bytes) -> EventRow:
    """Derived from the bytes, so text masked or cut there is also masked or cut in the columns."""
    columns = record_columns(decode(data))
    return EventRow(**columns, data=data, leaf=leaf_hash(data))


def _usual(values: tuple[Any, ...]) -> bool:
    """Whether `searchable` would return all of these unchanged."""
    try:
        together = "".join(values)
    except TypeError:
        return False
    return len(together) <= _SHORT and together.isprintable()


def session_record(claims: SessionClaims) -> SessionRecord:
    """The session as written to the event that issues it. A hop has its grant and client only if one is set."""
    hops = tuple([astuple(hop)[: None if hop.grant_id or hop.client_id else 7] for hop in claims.hops])
    return SessionRecord(
        claims.kind._value_,
        claims.arn,
        claims.issued_at,
        claims.expires_at,
        hops,
        claims.user_id,
        claims.source_identity,
    )


def session_row(claims: SessionClaims) -> SessionRow:
    """The columns by which a session is found. Its event holds everything else."""
    hops = claims.hops
    own = hops[-1]
    names = (own.session_id, own.account, claims.kind._value_, own.principal_id, hops[0].principal_id)
    issued_at, expires_at = claims.issued_at, claims.expires_at
    if not (_usual(names) and 0 <= issued_at <= LARGEST and 0 <= expires_at <= LARGEST):
        names = tuple(map(searchable, names))  # type: ignore[assignment]  # five again
        issued_at, expires_at = bounded(issued_at), bounded(expires_at)
    return (*names, issued_at, expires_at, chain_depth(hops))


def redact_for_actor(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an event that the actor's account may see when another account owns the event: no decision, detail or
    session.
    """
    return {name: value for name, value in body.items() if name not in ("decision", "detail", "session")}
