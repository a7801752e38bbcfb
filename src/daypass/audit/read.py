"""Reads the record and the sessions: whole logs for verification, searches for people, pages for both.

What an account may not see is left out here and nowhere else: an event belongs to the account that owns what was acted
on; the actor's account sees it without decision and detail; the operator sees all; everyone may see leaves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    and_,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from daypass.audit.rows import redact_for_actor, searchable
from daypass.domain.directory import Revocation
from daypass.domain.events import EventType, decode
from daypass.domain.session import Hop, Seen, SessionClaims, SessionKind
from daypass.ports import Clock, LogView, RecordFilter, RecordView, SessionFilter, SessionView, Viewer
from daypass.stores.engine import Database
from daypass.stores.records import audit_logs, audit_records, sessions

T = TypeVar("T")
Columns: TypeAlias = Any
"""The columns of the record, read from the table or from a part of it."""

MOST = 1000
"""Records or sessions in one page."""
_BY_ID = 10_000  # records that one request or session id can have
_SCANNED = 5_000  # sessions looked at for one page when a filter has to be computed

_r = audit_records.c
_s = sessions.c
_EMPTY: ColumnElement[str] = literal_column("''")


# --- Logs and their records


def list_logs(conn: Connection) -> list[LogView]:
    """Every log with its last record, oldest first."""
    of = audit_records.alias()
    newest = select(func.max(of.c.seq)).where(of.c.log == audit_logs.c.log).correlate(audit_logs).scalar_subquery()
    query = (
        select(audit_logs, _r.seq, _r.chain, _r.type)
        .join(audit_records, _r.log == audit_logs.c.log)
        .where(_r.seq == newest)
        .order_by(audit_logs.c.opened_at, audit_logs.c.log)
    )
    return [
        LogView(
            log=row.log,
            installation=row.installation,
            node=row.node,
            opened_at=row.opened_at,
            seq=row.seq,
            chain=bytes(row.chain).hex(),
            closed=row.type == EventType.LOG_CLOSED.value,
        )
        for row in conn.execute(query)
    ]


def log_records(conn: Connection, viewer: Viewer, log: str, after: int, limit: int) -> list[RecordView]:
    """The records of a log behind `after`, in order of sequence; foreign ones as leaves."""
    query = select(audit_records).where(_r.log == searchable(log), _r.seq > _integer(after))
    return [_view(viewer, row) for row in conn.execute(query.order_by(_r.seq).limit(_page(limit)))]


def following(conn: Connection, viewer: Viewer, cursor: Mapping[str, int], limit: int) -> list[RecordView]:
    """Records of any log behind its place in `cursor`, in one snapshot."""
    found: list[RecordView] = []
    for log in list_logs(conn):
        after = cursor.get(log.log, -1)
        if log.seq > after and len(found) < _page(limit):
            found += log_records(conn, viewer, log.log, after, _page(limit) - len(found))
    return found


def search_records(conn: Connection, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
    """Records that the viewer may see and that match, newest first."""
    source = _source(query)
    c = source.c
    limit = _page(query.limit)
    rows: dict[tuple[str, int], Row[Any]] = {}
    for scope in _scopes(c, viewer, searchable(query.account)):
        statement = select(source).where(*scope, *_matching(c, query))
        statement = statement.order_by(c.at.desc(), c.log.desc(), c.seq.desc()).limit(limit)
        rows.update({(row.log, row.seq): row for row in conn.execute(statement)})
    newest = sorted(rows.values(), key=lambda row: (row.at, row.log, row.seq), reverse=True)
    return [_view(viewer, row) for row in newest[:limit]]


def _source(query: RecordFilter) -> FromClause:
    """The table; or the few records of an id, fenced off so that no other index is taken for them."""
    if query.request_id:
        narrow = select(audit_records).where(_r.request_id == searchable(query.request_id))
    elif query.session_id:
        # As the partial index says it; a parameter in place of '' would not be recognised.
        narrow = select(audit_records).where(_r.session_id == searchable(query.session_id), _r.session_id != _EMPTY)
    else:
        return audit_records
    return narrow.limit(_BY_ID).subquery()


def _scopes(c: Columns, viewer: Viewer, account: str) -> list[list[ColumnElement[bool]]]:
    """The accounts to look in, one query for each index: what an account owns, and what it did elsewhere."""
    own = "" if viewer.operator else searchable(viewer.account)
    if account and own and account != own:  # what happened between the two
        return [
            [c.account == own, c.actor_account == account],
            [c.actor_account == own, c.account == account, c.actor_account != c.account],
        ]
    wanted = own or account
    if wanted:
        return [[c.account == wanted], [c.actor_account == wanted, c.actor_account != c.account]]
    return [[]] if viewer.operator else []


def _matching(c: Columns, query: RecordFilter) -> list[ColumnElement[bool]]:
    equal = ("type", "operation", "request_id", "session_id", "access_key_id", "error")
    found = [c[name] == searchable(getattr(query, name)) for name in equal if getattr(query, name)]
    if query.since is not None:
        found.append(c.at >= _integer(query.since))
    if query.until is not None:
        found.append(c.at < _integer(query.until))
    if query.before is not None:
        at, log, seq = query.before
        place = tuple_(c.log, c.seq) < tuple_(searchable(log), _integer(seq))
        found += [c.at <= _integer(at), or_(c.at < _integer(at), place)]
    return found


def _view(viewer: Viewer, row: Row[Any]) -> RecordView:
    data = bytes(row.bytes)
    own = viewer.operator or (row.account == viewer.account != "")
    acted = row.actor_account == viewer.account != ""
    body: Mapping[str, Any] | None = None
    if own or acted:
        try:
            body = decode(data)
        except ValueError:  # altered: verification says where
            body = None
        if body is not None and not own:
            body = redact_for_actor(body)
    return RecordView(
        log=row.log,
        seq=row.seq,
        at=row.at,
        leaf=bytes(row.leaf).hex(),
        chain=bytes(row.chain).hex(),
        body=body,
        bytes=data if own else None,
    )


# --- Sessions


def list_sessions(
    conn: Connection, viewer: Viewer, query: SessionFilter, now: int, limit: int
) -> list[tuple[SessionClaims, str, int, int]]:
    """(claims, log, seq, depth) of sessions, newest first. Whether they are revoked is not looked at. `now`: ms."""
    statement = select(sessions)
    account = query.account if viewer.operator else viewer.account
    if not viewer.operator and query.account not in ("", viewer.account):
        return []
    if account or not viewer.operator:
        statement = statement.where(_s.account == searchable(account))
    for name in ("session_id", "principal_id", "root_principal_id"):
        if getattr(query, name):
            statement = statement.where(_s[name] == searchable(getattr(query, name)))
    if query.active:
        statement = statement.where(_s.expires_at > now)
    if query.before is not None:
        at, session_id = query.before
        later = and_(_s.issued_at == _integer(at), _s.session_id < searchable(session_id))
        statement = statement.where(_s.issued_at <= _integer(at), or_(_s.issued_at < _integer(at), later))
    statement = statement.order_by(_s.issued_at.desc(), _s.session_id.desc()).limit(limit)
    return [(claims_of(row), row.log, row.seq, row.depth) for row in conn.execute(statement)]


def claims_of(row: Row[Any]) -> SessionClaims:
    """What a row of `sessions` tells of a session: enough for `RevocationIndex.revoked`."""
    hops = tuple(Hop(h[0], h[1], h[2], h[3], Seen(*h[4]), h[5], h[6]) for h in json.loads(bytes(row.hops)))
    return SessionClaims(
        kind=SessionKind(row.kind),
        session_id=row.session_id,
        account=row.account,
        principal_id=row.principal_id,
        arn=row.arn,
        name=row.name,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        seen=hops[-1].seen,
        hops=hops,
        source_identity=row.source_identity,
        user_id=row.user_id,
        grant_id=row.grant_id,
    )


def _integer(value: int) -> int:
    return min(max(value, -(2**63)), 2**63 - 1)


def _page(limit: int) -> int:
    return min(max(limit, 1), MOST)


# --- The port


class AuditReader:
    """Implements `ports.Records`: runs the queries above on threads of its own.

    Args:
        revoked: the revocation that killed a session, if any (`Directory.revoked`); called on the event loop.
    """

    def __init__(
        self, database: Database, clock: Clock, revoked: Callable[[SessionClaims], Revocation | None], threads: int = 2
    ) -> None:
        self._database = database
        self._clock = clock
        self._revoked = revoked
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="daypass-audit")

    def close(self) -> None:
        """Waits for no query."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._database.read, query)

    async def logs(self) -> list[LogView]:
        return await self._read(list_logs)

    async def records(self, viewer: Viewer, log: str, after: int = -1, limit: int = 1000) -> list[RecordView]:
        return await self._read(lambda conn: log_records(conn, viewer, log, after, limit))

    async def follow(self, viewer: Viewer, cursor: Mapping[str, int], limit: int = 1000) -> list[RecordView]:
        return await self._read(lambda conn: following(conn, viewer, cursor, limit))

    async def search(self, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
        return await self._read(lambda conn: search_records(conn, viewer, query))

    async def sessions(self, viewer: Viewer, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
        now = self._clock.now()
        limit = _page(query.limit)
        found: list[SessionView] = []
        before, scanned = query.before, 0
        while scanned < _SCANNED:
            page = replace(query, before=before)
            rows = await self._read(lambda conn, page=page: list_sessions(conn, viewer, page, now, limit))  # type: ignore[misc]
            for claims, log, seq, depth in rows:
                before = (claims.issued_at, claims.session_id)
                view = self._session(claims, log, seq, depth, now)
                if _wanted(view, query):
                    found.append(view)
                    if len(found) == limit:
                        return found, before
            scanned += len(rows)
            if len(rows) < limit:
                return found, None
        return found, before

    def _session(self, claims: SessionClaims, log: str, seq: int, depth: int, now: int) -> SessionView:
        revoked = self._revoked(claims)
        return SessionView(claims, log, seq, depth, revoked, revoked is None and now < claims.expires_at)


def _wanted(view: SessionView, query: SessionFilter) -> bool:
    if query.active is not None and view.active != query.active:
        return False
    return query.revoked is None or (view.revoked_by is not None) == query.revoked
