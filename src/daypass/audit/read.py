"""Reads the record and the sessions: whole logs for verification, searches for people, and pages for both.

This module and `session_rows` remove what an account may not see; no other does. An event belongs to the account that owns the
resource. The actor's account sees it without decision and detail. The operator sees everything. Every account may see
leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)

from daypass.api.record import LogOut
from daypass.audit.columns import CHANGES, HOUR_MS, LARGEST, READ, altered_column, id_key, searchable, usual_value
from daypass.audit.format import chain_hash, chain_seed, leaf_hash
from daypass.audit.recent import active_sessions, may_be_revoked
from daypass.audit.rows import (
    ListedSession,
    body_of,
    columns_of,
    list_sessions,
    redact_for_actor,
    session_hours,
    sessions_of,
    stored_integer,
)
from daypass.audit.stored import event_bytes, events_of, whole
from daypass.domain.directory import Revocation
from daypass.domain.events import EventType
from daypass.domain.session import SessionClaims, chain_depth
from daypass.ports.clock import Clock
from daypass.ports.record import ChainCheck, RecordFilter, RecordView, SessionFilter, SessionView, Viewer
from daypass.scheduling.threads import FairThreads
from daypass.stores.engine import Database
from daypass.stores.records import USUAL, audit_hours, audit_logs, audit_records, sessions, unusual

T = TypeVar("T")
Columns: TypeAlias = Any
"""The columns of the record, selected from the table or from a subquery."""

MAX_PAGE = 1000
"""Records or sessions in one page."""
THREADS = 3
"""Threads of a reader, each with a connection. One serves only what revocations wait for."""
_SEARCH_SECONDS = 10.0  # for one statement of a search
_STEP = 250  # sessions that are read at once: the event loop looks at each of them
_HOURS = 200  # that are read at once
_PERIODS = 1_000  # that are searched one by one; one statement, with its own time limit, searches all earlier hours
_BY_ID = 10_000  # records that one request or session id can have

_r = audit_records.c
_h = audit_hours.c
# Written exactly as in the partial indexes. A database would not recognise a parameter in their place.
_ISSUED: ColumnElement[str] = literal_column(f"'{EventType.SESSION_ISSUED.value}'")


# --- Logs and their records


def list_logs(conn: Connection) -> list[LogOut]:
    """Every log with its last record, oldest first. The place and time of opening are read from its first record."""
    rows = _last_records(conn)
    data = event_bytes(conn, rows)
    openings = events_of(conn, [(row.log, 0) for row in rows])
    return [_log_view(row, data[row.log, row.seq], body_of(openings.get((row.log, 0), b""))) for row in rows]


def _last_records(conn: Connection) -> Sequence[Any]:
    """The last record of each log, oldest log first."""
    of = audit_records.alias()
    in_log = of.c.log == audit_logs.c.log, of.c.seq <= LARGEST  # text is larger
    newest = select(func.max(of.c.seq)).where(*in_log).correlate(audit_logs).scalar_subquery()
    query = (
        select(_r.log, _r.seq, _r.chain, _r.bytes)
        .join(audit_logs, _r.log == audit_logs.c.log)
        .where(_r.seq == newest)
        .order_by(audit_logs.c.opened_at, audit_logs.c.log)
    )
    return whole(conn.execute(query))


def _log_view(row: Any, last: bytes, opening: Mapping[str, Any]) -> LogOut:
    detail = opening.get("detail", {})
    return LogOut(
        log=row.log,
        installation=str(detail.get("installation", "")),
        node=str(detail.get("node", "")),
        opened_at=int(opening.get("at", 0)),
        seq=row.seq,
        chain=bytes(row.chain).hex(),
        closed=body_of(last).get("type") == EventType.LOG_CLOSED.value,
    )


def log_records(conn: Connection, viewer: Viewer, log: str, after: int, limit: int) -> list[RecordView]:
    """The records of a log after `after`, ordered by sequence number. Records of other accounts are returned as
    leaves.
    """
    query = select(audit_records).where(_r.log == searchable(log), _r.seq > stored_integer(after))
    rows = whole(conn.execute(query.order_by(_r.seq).limit(_page(limit))))
    data = event_bytes(conn, rows)
    return [_view(viewer, row, (each := data[row.log, row.seq]), body_of(each)) for row in rows]


def following(conn: Connection, viewer: Viewer, cursor: Mapping[str, int], limit: int) -> list[RecordView]:
    """The records of all logs after their positions in `cursor`, in one snapshot."""
    records: list[RecordView] = []
    for log in _last_records(conn):
        after = cursor.get(log.log, -1)
        if log.seq > after and len(records) < _page(limit):
            records += log_records(conn, viewer, log.log, after, _page(limit) - len(records))
    return records


def search_records(conn: Connection, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
    """The matching records that the viewer may see, newest first.

    They are found by their columns, and returned only if each column matches the bytes. One that does not hides no others.
    """
    limit = _page(query.limit)
    values = _noted(viewer, query)
    if not values:
        return _search(conn, viewer, query, limit)
    records: list[RecordView] = []
    for count, (first, last) in enumerate(_hours(conn, values, query), 1):
        since, until = first * HOUR_MS, (last + 1) * HOUR_MS
        until, is_rest = min(until, query.until or until), count > _PERIODS
        part = replace(query, since=query.since if is_rest else max(since, query.since or since), until=until)
        records += _search(conn, viewer, part, limit - len(records))
        if is_rest or len(records) == limit:
            break
    return records


def _noted(viewer: Viewer, query: RecordFilter) -> list[list[str]]:
    """The values of `audit_hours` that limit the search: one of each list. None if another index finds few records."""
    if query.request_id or query.session_id:
        return []
    keys = [searchable(key) for key in (query.access_key_id, *query.access_key_ids) if key]
    wanted = {name: searchable(getattr(query, name)) for name in USUAL if getattr(query, name)}
    values = [keys] if keys else []
    if any(value not in USUAL[name] for name, value in wanted.items()):
        return values
    account = searchable(query.account if viewer.operator else viewer.account)
    names = (*wanted.values(), *((CHANGES,) if query.changes else ()))
    return [*values, *([usual_value(account, name)] for name in names)]


def _hours(conn: Connection, values: Sequence[list[str]], query: RecordFilter) -> Iterator[tuple[int, int]]:
    """The hours with records of these values, newest first: the first and the last hour of each period without a gap."""
    newest = min(value for value in (query.until, query.before and query.before[0], LARGEST) if value is not None)
    statement = select(_h.hour).distinct().where(_h.value.in_(values[0])).order_by(_h.hour.desc()).limit(_HOURS)
    statement = statement.where(_h.hour >= stored_integer(query.since or 0) // HOUR_MS)
    for others in values[1:]:
        other = audit_hours.alias()
        statement = statement.where(exists().where(other.c.value.in_(others), other.c.hour == _h.hour))
    before = stored_integer(newest) // HOUR_MS + 1
    while hours := conn.execute(statement.where(_h.hour < before)).scalars().all():
        before = last = hours[0]
        for hour in hours[1:]:
            if hour != before - 1:
                yield before, last
                last = hour
            before = hour
        yield before, last


def _search(conn: Connection, viewer: Viewer, query: RecordFilter, limit: int) -> list[RecordView]:
    records: list[RecordView] = []
    while True:
        remaining = limit - len(records)
        rows = _newest(conn, viewer, query, remaining)
        data = event_bytes(conn, rows)
        for row in rows:
            of = data[row.log, row.seq]
            body = body_of(of)
            if not altered_column(columns_of(row), body) and _has_ids(body, query):
                records.append(_view(viewer, row, of, body))
        if len(rows) < remaining or len(records) == limit or type(rows[-1].at) is not int:
            return records
        query = replace(query, before=(rows[-1].at, rows[-1].log, rows[-1].seq))


def _newest(conn: Connection, viewer: Viewer, query: RecordFilter, limit: int) -> list[Row[Any]]:
    """The newest rows whose columns match."""
    source = _source(query)
    c = source.c
    rows: dict[tuple[str, int], Row[Any]] = {}
    for scope in _scopes(c, viewer, searchable(query.account)):
        statement = select(source).where(*scope, *_matching(c, query))
        statement = statement.order_by(c.at.desc(), c.log.desc(), c.seq.desc()).limit(limit)
        rows.update({(row.log, row.seq): row for row in whole(conn.execute(statement))})
    return sorted(rows.values(), key=lambda row: (row.at, row.log, row.seq), reverse=True)[:limit]


def _has_ids(body: Mapping[str, Any], query: RecordFilter) -> bool:
    """Whether the ids equal the requested ones, because two ids may have the same key."""
    return all(
        not requested or searchable(body.get(name, "")) == searchable(requested)
        for name, requested in (("request_id", query.request_id), ("session_id", query.session_id))
    )


def _source(query: RecordFilter) -> FromClause:
    """The table, or the few records of an id in a separate subquery, so that the database uses no other index for
    them.
    """
    if query.request_id:
        requested = searchable(query.request_id)
        conditions = [_r.request_key == id_key(requested)]
    elif query.session_id:
        requested = searchable(query.session_id)
        issued = select(sessions.c.log, sessions.c.seq).where(sessions.c.session_id == requested)
        conditions = [
            and_(_r.session_key == id_key(requested), _r.type != _ISSUED),
            and_(tuple_(_r.log, _r.seq).in_(issued), _r.type == _ISSUED),
        ]
    else:
        return audit_records
    each = (select(audit_records).where(one) for one in conditions)
    return union_all(*each).limit(_BY_ID).subquery()


def _scopes(c: Columns, viewer: Viewer, account: str) -> list[list[ColumnElement[bool]]]:
    """The accounts to search, with one query for each index: events that an account owns, and its actions in other
    accounts.
    """
    own = "" if viewer.operator else searchable(viewer.account)
    if account and own and account != own:  # events between the two accounts
        return [
            [c.account == own, c.actor_account == account],
            [c.actor_account == own, c.account == account, c.actor_account != c.account],
        ]
    only = own or account
    if only:
        return [[c.account == only], [c.actor_account == only, c.actor_account != c.account]]
    return [[]] if viewer.operator else []


def _matching(c: Columns, query: RecordFilter) -> list[ColumnElement[bool]]:
    equal = ("type", "operation", "access_key_id", "error")
    if query.request_id and query.session_id:  # one request has few records
        conditions = [c.session_key == id_key(searchable(query.session_id))]
    else:
        conditions = []
    wanted = {name: searchable(getattr(query, name)) for name in equal if getattr(query, name)}
    conditions += [c[name] == value for name, value in wanted.items()]
    if not (query.request_id or query.session_id):
        conditions += [unusual(name) for name, usual in USUAL.items() if wanted.get(name, usual[0]) not in usual]
    if query.changes:
        conditions.append(c.type != READ)
    if query.access_key_ids:
        conditions.append(c.access_key_id.in_([searchable(each) for each in query.access_key_ids]))
    if query.since is not None:
        conditions.append(c.at >= stored_integer(query.since))
    if query.until is not None:
        conditions.append(c.at < stored_integer(query.until))
    if query.before is not None:
        at, log, seq = query.before
        place = tuple_(c.log, c.seq) < tuple_(searchable(log), stored_integer(seq))
        conditions += [c.at <= stored_integer(at), or_(c.at < stored_integer(at), place)]
    return conditions


def _view(viewer: Viewer, row: Row[Any], data: bytes, body: Mapping[str, Any]) -> RecordView:
    """The part of a record that the viewer may see, according to its bytes. `body`: what they say."""
    account, actor = body.get("account", ""), body.get("actor")
    own = viewer.operator or (account == viewer.account != "")
    acted = isinstance(actor, dict) and actor.get("account", "") == viewer.account != ""
    shown: Mapping[str, Any] | None = None
    if body and (own or acted):
        shown = body if own else redact_for_actor(body)
    at = body.get("at")
    return RecordView(
        log=row.log,
        seq=row.seq,
        at=at if type(at) is int else 0,
        leaf=leaf_hash(data).hex(),
        chain=bytes(row.chain).hex(),
        body=shown,
        bytes=data if own else None,
    )


def _page(limit: int) -> int:
    return min(max(limit, 1), MAX_PAGE)


# --- The reader


class Records:
    """Reads the record and the sessions. Raises DaypassError: UNAVAILABLE when the database is unavailable, THROTTLED when too
    many reads of the account wait.

    It runs the queries above on its own threads, fair by account (attack A306).

    Args:
        revoked: returns the revocation that ended a session, if any (`Directory.revoked`); called on the event loop.
        known: returns all revocations that `revoked` knows; likewise.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        revoked: Callable[[SessionClaims], Revocation | None],
        known: Callable[[], Sequence[Revocation]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._revoked = revoked
        self._known = known
        self._threads = FairThreads(THREADS, "daypass-audit", reserved=1)

    def close(self) -> None:
        """Stops without waiting for running queries."""
        self._threads.stop()

    async def run(self, query: Callable[[Connection], T], account: str = "", *, urgent: bool = False) -> T:
        """Runs a query of the record in the turn of an account; "" is the server. Raises as the others."""
        return await self._threads.run(
            account, lambda _: self._database.read(query, seconds=_SEARCH_SECONDS), urgent=urgent
        )

    async def logs(self, viewer: Viewer) -> list[LogOut]:
        """Every log, oldest first."""
        return await self.run(list_logs, viewer.account)

    async def records(self, viewer: Viewer, log: str, after: int = -1, limit: int = 1000) -> list[RecordView]:
        """The records of a log after `after`, in order and without a gap, as verification needs them."""
        return await self.run(lambda conn: log_records(conn, viewer, log, after, limit), viewer.account)

    def check(self, views: Sequence[RecordView]) -> ChainCheck:
        """Computes the hashes of consecutive records of one log. The chain hash of the first is taken as it is, except of
        record 0, which has nothing before it.
        """
        if not views:
            return ChainCheck(0, 0, None)
        first = views[0]
        start = bytes.fromhex(first.chain) if first.seq else chain_seed(first.log)
        computed = views[1:] if first.seq else views
        withheld = sum(view.bytes is None for view in computed)
        for view in computed:
            leaf = bytes.fromhex(view.leaf) if view.bytes is None else leaf_hash(view.bytes)
            start = chain_hash(start, leaf, view.seq)
            if (leaf.hex(), start.hex()) != (view.leaf, view.chain):
                return ChainCheck(len(computed), withheld, view.seq)
        return ChainCheck(len(computed), withheld, None)

    async def follow(self, viewer: Viewer, cursor: Mapping[str, int], limit: int = 1000) -> list[RecordView]:
        """The records of all logs after their positions in `cursor` (log: seq; absent: the whole log), sorted by log
        and seq.

        No record is skipped, however late it was committed. Records that the viewer may not see have no body.
        """
        return await self.run(lambda conn: following(conn, viewer, cursor, limit), viewer.account)

    async def search(self, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
        """Records that the viewer may see, newest first."""
        return await self.run(lambda conn: search_records(conn, viewer, query), viewer.account)

    def revocations(self) -> Sequence[Revocation]:
        """The revocations that this process knows, of every account."""
        return self._known()

    async def may_be_ended(self, revocations: Sequence[Revocation], most: int) -> AsyncIterator[SessionClaims]:
        """Sessions of every account that have not expired, at most `most`, and among them those that these revocations
        end. It is read before other reads.
        """
        now, account = self._clock.now(), revocations[0].account if revocations else ""
        ids = await self.run(lambda conn: active_sessions(conn, revocations, now, most), account, urgent=True)
        for at in range(0, len(ids), _STEP):
            part = partial(sessions_of, ids=ids[at : at + _STEP])
            for claims in await self.run(part, account, urgent=True):
                yield claims

    async def sessions_by_id(self, ids: Collection[str], account: str) -> dict[str, SessionClaims]:
        """The sessions with these ids, in the turn of an account. One that does not match the record is left out."""
        found: dict[str, SessionClaims] = {}
        wanted = sorted(ids)
        for at in range(0, len(wanted), _STEP):
            part = partial(sessions_of, ids=wanted[at : at + _STEP])
            found.update((claims.session_id, claims) for claims in await self.run(part, account))
        return found

    async def sessions(self, viewer: Viewer, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
        """Sessions of the viewer's account (the operator: of all), newest first, and the `before` of the next page.

        The page may hold fewer than `limit` and still have a next one.
        """
        now = self._clock.now()
        limit = _page(query.limit)
        step = min(limit, _STEP)
        views: list[SessionView] = []
        narrow: ColumnElement[bool] | None = None
        if query.revoked:
            revocations = self._known()
            narrow = await self.run(lambda conn: may_be_revoked(conn, revocations), viewer.account)
        before, scanned = query.before, 0
        while scanned < query.looked_at:
            page = replace(query, before=before)
            listed = partial(list_sessions, viewer=viewer, query=page, now=now, limit=step, narrow=narrow)
            rows = await self.run(listed, viewer.account)
            for row in rows:
                before = row.place
                if row.claims is None:
                    continue
                view = self._session(row, row.claims, now)
                if _matches(view, query):
                    views.append(view)
                    if len(views) == limit:
                        return views, before
            scanned += len(rows)
            if len(rows) < step:
                return views, None
        return views, before

    async def session_hours(self, viewer: Viewer, query: SessionFilter, limit: int) -> list[tuple[int, int]]:
        """The hours in which the newest sessions were issued, at most `limit`, and how many in each."""
        return await self.run(lambda conn: session_hours(conn, viewer, query, limit), viewer.account)

    def _session(self, row: ListedSession, claims: SessionClaims, now: int) -> SessionView:
        revoked = self._revoked(claims)
        active = revoked is None and now < claims.expires_at
        return SessionView(claims, row.log, row.seq, chain_depth(claims.hops), revoked, active, row.source_ip)


def _matches(view: SessionView, query: SessionFilter) -> bool:
    if query.active is not None and view.active != query.active:
        return False
    return query.revoked is None or (view.revoked_by is not None) == query.revoked
