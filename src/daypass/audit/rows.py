"""Turns events and sessions into rows, on the caller's side of the journal's queue: once, and ready to be stored.

Searchable columns are sanitised copies: the truth is in the event's bytes. Nothing that a caller sends may make a row
that a database refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from daypass.audit.format import leaf_hash
from daypass.domain.events import Event, encode
from daypass.domain.plain import is_plain
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


def event_row(event: Event) -> EventRow:
    """Encodes and hashes an event. One that cannot be encoded is recorded without what could not be."""
    try:
        data = encode(event)
    except (TypeError, ValueError, RecursionError) as failure:
        data = encode(replace(event, decision=None, detail={"unencodable": type(failure).__name__}))
    actor = event.actor
    names = _searchable_all(
        (
            event.type._value_,  # before Python 3.12 `value` runs Python code
            event.account,
            actor.get("account", ""),
            event.operation,
            event.request_id,
            event.session_id,
            actor.get("access_key_id", ""),
            event.error,
        )
    )
    return EventRow._make((_bounded(event.at), *names, data, leaf_hash(data)))


def session_row(claims: SessionClaims) -> SessionRow:
    """The projection of a session that is about to be issued. Its last hop is the session itself."""
    c, hops = claims, claims.hops
    first = hops[0]
    session_id, account, principal_id, _, _, key, name = hops[-1]
    row = (
        session_id,
        account,
        c.kind._value_,
        key,
        principal_id,
        c.arn,
        name,
        c.issued_at,
        c.expires_at,
        hops[-2].session_id if len(hops) > 1 else "",
        first.principal_id,
        first.access_key_id,
        c.user_id,
        c.source_identity,
        c.grant_id,
        chain_depth(hops),
    )
    text = _write_hops(hops)
    others = f"{c.arn}{c.user_id}{c.source_identity}{c.grant_id}"  # the row's strings that no hop has
    fits = len(text) + len(others) <= _LONG and 0 <= c.issued_at <= c.expires_at <= _LARGEST
    if fits and is_plain(text + others, 6 * len(hops)):  # nearly always
        return (*row, text.encode())
    encoded = json.dumps(hops, separators=(",", ":")).encode()
    return (*(_bounded(v) if isinstance(v, int) else searchable(v, _LONG) for v in row), encoded)


def _write_hops(hops: tuple[Hop, ...]) -> str:
    """An array for each hop, in the order of its fields: compact JSON if all strings are plain."""
    arrays = ""
    for session_id, account, principal_id, at, (incarnation, position), key, name in hops:
        arrays += f',["{session_id}","{account}","{principal_id}",{at},["{incarnation}",{position}],"{key}","{name}"]'
    return f"[{arrays[1:]}]"


def _searchable_all(values: tuple[Any, ...]) -> tuple[str, ...]:
    """`searchable` for each. Nearly always all of them are fine, which one look at their concatenation tells."""
    try:
        together = "".join(values)
    except TypeError:
        together = "\n"
    return values if len(together) <= _SHORT and is_plain(together, 0) else tuple(map(searchable, values))


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
