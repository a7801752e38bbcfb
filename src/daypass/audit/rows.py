"""Converts events and sessions to rows that are ready to be stored. This happens once, on the caller's side of the
journal's queue.

Searchable columns are sanitised copies; the event's bytes are authoritative. No input of a caller may produce a row
that a database refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple, replace
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, literal_column, or_, select

from daypass.audit.columns import HOUR_MS, LARGEST, altered_session_column, bounded, id_key, record_columns, searchable
from daypass.audit.format import leaf_hash
from daypass.audit.stored import events_of
from daypass.domain.events import Event, SessionRecord, decode, encoded
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind, chain_depth
from daypass.ports.record import SessionFilter, Viewer
from daypass.stores.records import sessions

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


# --- Reads sessions: their rows, and the events that issued them


_s = sessions.c


def list_sessions(
    conn: Connection,
    viewer: Viewer,
    query: SessionFilter,
    now: int,
    limit: int,
    narrow: ColumnElement[bool] | None = None,
) -> list[ListedSession]:
    """Sessions, newest first. Revocation is not checked. `now`: ms. `narrow`: a condition of the columns.

    Those of all accounts are ordered by their ids, which begin with the time, so that no index need have the times alone.
    """
    statement = select(sessions).where(*_matching(viewer, query))
    if narrow is not None:
        statement = statement.where(narrow)
    order: list[ColumnElement[Any]] = [_s.session_id]
    if query.account or not viewer.operator:
        order = [_s.issued_at, _s.session_id]
    if query.active:  # "+ 0": the order of the list has an index, and the index of active sessions another order
        statement = statement.where(_s.expires_at + 0 > now)
    if query.before is not None:
        at, session_id = stored_integer(query.before[0]), searchable(query.before[1])
        later = _s.session_id < session_id
        if len(order) > 1:
            statement = statement.where(_s.issued_at <= at)
            later = or_(_s.issued_at < at, and_(_s.issued_at == at, later))
        statement = statement.where(later)
    return _all(conn, statement.order_by(*(column.desc() for column in order)).limit(limit))


def session_hours(conn: Connection, viewer: Viewer, query: SessionFilter, limit: int) -> list[tuple[int, int]]:
    """The hours (since 1970) in which the newest `limit` sessions were issued, according to their rows, and how many in each."""
    newest = select(_s.issued_at).where(*_matching(viewer, query)).order_by(_s.issued_at.desc()).limit(limit).subquery()
    hour = newest.c.issued_at // literal_column(str(HOUR_MS))  # PostgreSQL takes two parameters for two expressions
    return [(int(at), number) for at, number in conn.execute(select(hour, func.count()).group_by(hour))]


def _matching(viewer: Viewer, query: SessionFilter) -> list[ColumnElement[bool]]:
    """The accounts, ids and the beginning that a query names."""
    if not viewer.operator and query.account not in ("", viewer.account):
        return [false()]
    conditions: list[ColumnElement[bool]] = []
    if query.account or not viewer.operator:
        conditions.append(_s.account == searchable(query.account or viewer.account))
    ids = {name: getattr(query, name) for name in ("session_id", "principal_id", "root_principal_id")}
    conditions += [_s[name] == searchable(value) for name, value in ids.items() if value]
    if query.since is not None:
        conditions.append(_s.issued_at >= stored_integer(query.since))
    return conditions


def sessions_of(conn: Connection, ids: Sequence[str]) -> list[SessionClaims]:
    """The sessions with these ids that match the record."""
    found = _all(conn, select(sessions).where(_s.session_id.in_(ids)))
    return [row.claims for row in found if row.claims is not None]


def _all(conn: Connection, statement: Select[Any]) -> list[ListedSession]:
    rows = conn.execute(statement).all()
    events = events_of(conn, [(row.log, row.seq) for row in rows])
    return [_listed(row, body_of(events.get((row.log, row.seq), b""))) for row in rows]


def _listed(row: Row[Any], body: Mapping[str, Any]) -> ListedSession:
    claims = None
    if body and not altered_session_column(columns_of(row), body):
        with suppress(ValueError, TypeError, LookupError):  # the event was altered, too
            claims = claims_of(body)
    source = body.get("source")
    source_ip = str(source.get("ip", "")) if isinstance(source, dict) else ""
    return ListedSession((row.issued_at, row.session_id), row.log, row.seq, claims, source_ip)


class ListedSession(NamedTuple):
    """A row of `sessions`: its position in the list, the record that issued it, and the session according to that
    record.

    `claims` is None when the row does not match the record. The row is then not returned, and verification reports it.
    """

    place: tuple[int, str]
    log: str
    seq: int
    claims: SessionClaims | None
    source_ip: str


def claims_of(body: Mapping[str, Any]) -> SessionClaims:
    """The session as described by the event that issued it; enough for `RevocationIndex.revoked`."""
    session = body["session"]
    hops = tuple(map(hop_of, session["hops"]))
    own = hops[-1]
    return SessionClaims(
        kind=SessionKind(session["kind"]),
        session_id=own.session_id,
        account=own.account,
        principal_id=own.principal_id,
        arn=session["arn"],
        name=own.name,
        issued_at=session["issued_at"],
        expires_at=session["expires_at"],
        seen=own.seen,
        hops=hops,
        source_identity=session.get("source_identity", ""),
        user_id=session.get("user_id", ""),
        grant_id=own.grant_id,
        client_id=own.client_id,
    )


def hop_of(fields: Sequence[Any]) -> Hop:
    """A hop as an event has it."""
    session_id, account, principal_id, issued_at, seen, *rest = fields
    return Hop(session_id, account, principal_id, issued_at, FeedPosition(*seen), *rest)


def body_of(data: bytes) -> Mapping[str, Any]:
    """The body of an event; {} when it was altered. Verification reports the place."""
    try:
        return decode(data)
    except (ValueError, RecursionError):
        return {}


def columns_of(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001  # SQLAlchemy documents it as public


def stored_integer(value: int) -> int:
    return min(max(value, -(2**63)), 2**63 - 1)
