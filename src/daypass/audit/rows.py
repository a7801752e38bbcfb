"""Turns events and sessions into rows, on the caller's side of the journal's queue: once, and ready to be stored.

Searchable columns are sanitised copies: the truth is in the event's bytes. Nothing that a caller sends may make a row
that a database refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple, TypeAlias

from daypass.audit.format import leaf_hash
from daypass.domain.events import Event, encode
from daypass.domain.session import Hop, SessionClaims, chain_depth

_SHORT = 256
_LONG = 2048
_INSTEAD = "\N{REPLACEMENT CHARACTER}"
_LARGEST = 2**63 - 1

SessionRow: TypeAlias = tuple[Any, ...]
"""The columns of `sessions`, without `log` and `seq`, in the order of `SESSION_FIELDS`."""

SESSION_FIELDS = (
    "session_id",
    "account",
    "kind",
    "access_key_id",
    "principal_id",
    "arn",
    "name",
    "issued_at",
    "expires_at",
    "parent_session_id",
    "root_principal_id",
    "root_access_key_id",
    "user_id",
    "source_identity",
    "grant_id",
    "depth",
    "hops",
)


class EventRow(NamedTuple):
    """A record without its place: the columns of `audit_records` that do not depend on `log` and `seq`, in order."""

    at: int
    type: str
    account: str
    actor_account: str
    operation: str
    request_id: str
    session_id: str
    access_key_id: str
    error: str
    data: bytes  # column `bytes`
    leaf: bytes


EVENT_FIELDS = tuple("bytes" if name == "data" else name for name in EventRow._fields)

_PLAIN = bytes(range(0x20, 0x7F))


def event_row(event: Event) -> EventRow:
    """Encodes and hashes an event. One that cannot be encoded is recorded without what could not be."""
    try:
        data = encode(event)
    except (TypeError, ValueError, RecursionError) as failure:
        data = encode(replace(event, decision=None, detail={"unencodable": type(failure).__name__}))
    actor = event.actor
    kind, account, actor_account, operation, request, session, key, error = _searchable_all(
        (
            event.type._value_,  # before Python 3.12 `value` runs Python code
            event.account,
            actor.get("account", ""),
            event.operation,
            event.request_id,
            event.session_id,
            actor.get("access_key_id", ""),
            event.error,
        ),
        _SHORT,
    )
    names = (kind, account, actor_account, operation, request, session, key, error)
    return EventRow(_bounded(event.at), *names, data, leaf_hash(data))


def session_row(claims: SessionClaims) -> SessionRow:
    """The projection of a session that is about to be issued."""
    hops = claims.hops
    first = hops[0]
    sid, account, kind, key, principal, arn, name, parent, root, root_key, user, source, grant = _searchable_all(
        (
            claims.session_id,
            claims.account,
            claims.kind._value_,
            hops[-1].access_key_id,
            claims.principal_id,
            claims.arn,
            claims.name,
            hops[-2].session_id if len(hops) > 1 else "",
            first.principal_id,
            first.access_key_id,
            claims.user_id,
            claims.source_identity,
            claims.grant_id,
        ),
        _LONG,
    )
    times = (_bounded(claims.issued_at), _bounded(claims.expires_at))
    ends = (chain_depth(hops), _encode_hops(hops))
    return (sid, account, kind, key, principal, arn, name, *times, parent, root, root_key, user, source, grant, *ends)


def _encode_hops(hops: tuple[Hop, ...]) -> bytes:
    """An array for each hop, in the order of its fields: compact JSON in ASCII."""
    q = encode_basestring_ascii
    arrays = [
        f"[{q(h.session_id)},{q(h.account)},{q(h.principal_id)},{h.issued_at},[{q(h.seen[0])},{h.seen[1]}],"
        f"{q(h.access_key_id)},{q(h.name)}]"
        for h in hops
    ]
    return f"[{','.join(arrays)}]".encode("ascii")


def _searchable_all(values: tuple[Any, ...], limit: int) -> tuple[str, ...]:
    """`searchable` for each. Nearly always all of them are fine, which one look at their concatenation tells."""
    try:
        together = "".join(values)
    except TypeError:
        together = "\n"
    if len(together) <= limit and together.isascii() and not together.encode("ascii").translate(None, _PLAIN):
        return values  # deleting what is plain leaves nothing: four times as fast as isprintable
    return tuple(searchable(value, limit) for value in values)


def searchable(value: object, limit: int = _SHORT) -> str:
    """A copy that any database takes and any terminal may print: at most `limit` printable characters."""
    text = value if type(value) is str else str(value)
    if len(text) <= limit and text.isprintable():
        return text
    return "".join(c if c.isprintable() else _INSTEAD for c in text[:limit])


def _bounded(at: int) -> int:
    return at if 0 <= at <= _LARGEST else min(max(at, 0), _LARGEST)


def redact_for_actor(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the actor's account may see of an event that another account owns: neither decision nor detail."""
    return {name: value for name, value in body.items() if name not in ("decision", "detail")}
