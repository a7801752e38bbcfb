"""Reads sessions: their rows, and the events that issued them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, or_, select

from daypass.audit.columns import altered_session_column, searchable
from daypass.audit.stored import events_of
from daypass.domain.events import decode
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.ports.record import SessionFilter, Viewer
from daypass.stores.records import sessions

_s = sessions.c


def list_sessions(
    conn: Connection,
    viewer: Viewer,
    query: SessionFilter,
    now: int,
    limit: int,
    narrow: ColumnElement[bool] | None = None,
) -> list[Listed]:
    """Sessions, newest first. Revocation is not checked. `now`: ms. `narrow`: a condition of the columns.

    Those of all accounts are ordered by their ids, which begin with the time, so that no index need have the times alone.
    """
    statement = select(sessions) if narrow is None else select(sessions).where(narrow)
    account = query.account if viewer.operator else viewer.account
    if not viewer.operator and query.account not in ("", viewer.account):
        return []
    order: list[ColumnElement[Any]] = [_s.session_id]
    if account or not viewer.operator:
        statement = statement.where(_s.account == searchable(account))
        order = [_s.issued_at, _s.session_id]
    for name in ("session_id", "principal_id", "root_principal_id"):
        if getattr(query, name):
            statement = statement.where(_s[name] == searchable(getattr(query, name)))
    if query.active:  # "+ 0": the order of the list has an index, and the index of active sessions another order
        statement = statement.where(_s.expires_at + 0 > now)
    if query.since is not None:
        statement = statement.where(_s.issued_at >= stored_integer(query.since))
    if query.before is not None:
        at, session_id = stored_integer(query.before[0]), searchable(query.before[1])
        later = _s.session_id < session_id
        if len(order) > 1:
            statement = statement.where(_s.issued_at <= at)
            later = or_(_s.issued_at < at, and_(_s.issued_at == at, later))
        statement = statement.where(later)
    return _all(conn, statement.order_by(*(column.desc() for column in order)).limit(limit))


def sessions_of(conn: Connection, ids: Sequence[str]) -> list[SessionClaims]:
    """The sessions with these ids that match the record."""
    found = _all(conn, select(sessions).where(_s.session_id.in_(ids)))
    return [row.claims for row in found if row.claims is not None]


def _all(conn: Connection, statement: Select[Any]) -> list[Listed]:
    rows = conn.execute(statement).all()
    events = events_of(conn, [(row.log, row.seq) for row in rows])
    return [_listed(row, body_of(events.get((row.log, row.seq), b""))) for row in rows]


def _listed(row: Row[Any], body: Mapping[str, Any]) -> Listed:
    claims = None
    if body and not altered_session_column(columns_of(row), body):
        with suppress(ValueError, TypeError, LookupError):  # the event was altered, too
            claims = claims_of(body)
    source = body.get("source")
    source_ip = str(source.get("ip", "")) if isinstance(source, dict) else ""
    return Listed((row.issued_at, row.session_id), row.log, row.seq, claims, source_ip)


class Listed(NamedTuple):
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
