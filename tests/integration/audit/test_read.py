"""Each account sees its own part of the record, and people find things in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Connection, Table, text
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import ACCOUNT, OTHER, Flaky, event, session

from daypass.audit.columns import USUAL_OPERATIONS, USUAL_TYPES
from daypass.audit.format import leaf_hash
from daypass.audit.journal import Journal
from daypass.audit.read import Records, search_records
from daypass.audit.recent import active_sessions
from daypass.audit.rows import list_sessions
from daypass.audit.verify import BadRecord, Head, RecordRow, VerifiedLog, verify_log
from daypass.cli.record import OfflineRecord, PostgresRecord
from daypass.domain.directory import AccessKey, Grant, Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.revocation_index import RevocationIndex
from daypass.domain.session import FeedPosition, Hop, SessionKind
from daypass.ports import RecordFilter, RecordView, SessionFilter, Viewer
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.loading import recently_used
from daypass.stores.records import USUAL, audit_records

OWNER, ACTOR, STRANGER = Viewer(OTHER), Viewer(ACCOUNT), Viewer("999999999999")
OPERATOR = Viewer("000000000000", operator=True)
T0 = 1_700_000_000_000


class Clock:
    time = T0 + 60_000

    def now(self) -> int:
        return self.time

    def wall(self) -> int:
        return self.time


class Index(RevocationIndex):
    """An index that also returns all revocations."""

    def __init__(self, epoch: str) -> None:
        super().__init__(epoch)
        self.known: list[Revocation] = []

    def add(self, revocation: Revocation) -> None:
        super().add(revocation)
        self.known.append(revocation)


@pytest.fixture
def index() -> Index:
    return Index("life")


@pytest.fixture
async def reader(flaky: Flaky, index: Index) -> AsyncIterator[Records]:
    reader = Records(flaky.inner, Clock(), index.revoked, lambda: index.known)
    yield reader
    reader.close()


@pytest.fixture
async def journal(start: Starter) -> Journal:
    """Records 1 to 4: own, foreign (decided in OTHER, asked by ACCOUNT), unauthenticated, own again."""
    journal: Journal = await start()
    foreign = event(
        "r2",
        at=T0 + 2,
        type=EventType.REQUEST_DENIED,
        account=OTHER,
        operation="sts:AssumeRole",
        error="access_denied",
        decision={"allowed": False},
        detail={"private": {"why": "secret to the owner"}},
        session_id="e" * 32,
    )
    nobody = event("r3", at=T0 + 3, type=EventType.REQUEST_UNAUTHENTICATED, account="", actor={})
    for each in (event("r1", at=T0 + 1), foreign, nobody, event("r4", at=T0 + 4, operation="iam:ListUsers")):
        await journal.commit(each)
    return journal


def requests(found: list[RecordView]) -> list[str]:
    return [str((record.body or {}).get("request_id", "-")) for record in found]


async def search(reader: Records, viewer: Viewer, **query: Any) -> list[str]:
    return requests(await reader.search(viewer, RecordFilter(**query)))


async def test_owner_sees_all_of_an_event(reader: Records, journal: Journal) -> None:
    (found,) = await reader.search(OWNER, RecordFilter())
    assert found.body is not None
    assert found.body["decision"] == {"allowed": False}
    assert found.body["detail"]["private"] == {"why": "secret to the owner"}
    assert found.bytes is not None


async def test_actor_sees_a_foreign_event_without_decision_and_detail(reader: Records, journal: Journal) -> None:
    found = {request: record for record in await reader.search(ACTOR, RecordFilter()) for request in requests([record])}
    assert set(found) == {"r1", "r2", "r4"}
    assert found["r1"].bytes is not None
    foreign = found["r2"]
    assert foreign.body is not None
    assert not {"decision", "detail"} & set(foreign.body)
    assert foreign.body["error"] == "access_denied"
    assert foreign.bytes is None


async def test_stranger_sees_leaves_alone_and_can_still_verify(reader: Records, journal: Journal) -> None:
    assert await reader.search(STRANGER, RecordFilter()) == []
    assert await reader.search(Viewer(""), RecordFilter()) == []
    for viewer, withheld in ((STRANGER, 5), (ACTOR, 3), (OPERATOR, 0)):
        found = await reader.records(viewer, journal.log)
        rows = [RecordRow(r.log, r.seq, bytes.fromhex(r.leaf), bytes.fromhex(r.chain), r.bytes) for r in found]
        head = Head(journal.log, 4, journal.head().chain)
        assert verify_log(journal.log, rows) == VerifiedLog(journal.log, 5, head, closed=False, withheld=withheld)
    assert [record.body for record in await reader.records(STRANGER, journal.log)] == [None] * 5


async def test_operator_sees_everything_newest_first(reader: Records, journal: Journal) -> None:
    assert (await search(reader, OPERATOR, until=T0 + 10)) == ["r4", "r3", "r2", "r1"]
    assert await search(reader, OPERATOR, account=OTHER) == ["r2"]
    assert await search(reader, OPERATOR, account=ACCOUNT) == ["r4", "r2", "r1"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"operation": "sts:AssumeRole"}, ["r2"]),
        ({"request_id": "r4"}, ["r4"]),
        ({"request_id": "r3"}, []),
        ({"session_id": "e" * 32}, ["r2"]),
        ({"session_id": "f" * 32}, []),
        ({"access_key_id": "AKIAUSER"}, ["r4", "r2", "r1"]),
        ({"type": "request.denied"}, ["r2"]),
        ({"error": "access_denied"}, ["r2"]),
        ({"account": OTHER}, ["r2"]),
        ({"account": "999999999999"}, []),
        ({"since": T0 + 2}, ["r4", "r2"]),
        ({"until": T0 + 2}, ["r1"]),
        ({"since": T0 + 2, "until": T0 + 4}, ["r2"]),
        ({"limit": 2}, ["r4", "r2"]),
        ({"limit": 0}, ["r4"]),
        ({"since": -(10**40), "until": 10**40, "request_id": "r1"}, ["r1"]),
        ({"operation": "x\x00' OR 1=1 --\ud800"}, []),
    ],
)
async def test_search_finds_by(reader: Records, journal: Journal, query: dict[str, Any], expected: list[str]) -> None:
    assert await search(reader, ACTOR, **query) == expected


async def test_search_pages_without_loss_or_repetition(reader: Records, journal: Journal, start: Starter) -> None:
    other = await start()
    await asyncio.gather(
        *(log.commit(event(f"{log.log[-1]}-{n}", at=T0 + 10)) for n in range(20) for log in (journal, other))
    )
    query, seen = RecordFilter(limit=7), []
    while page := await reader.search(ACTOR, query):
        seen += requests(page)
        query = replace(query, before=(page[-1].at, page[-1].log, page[-1].seq))
    assert len(seen) == len(set(seen)) == 43


async def test_hostile_value_is_found_by_itself(reader: Records, journal: Journal) -> None:
    hostile = "a\x00b\nc"
    await journal.commit(event("r5", operation=hostile))
    assert await search(reader, ACTOR, operation=hostile) == ["r5"]


async def test_logs_tell_where_each_one_stands(reader: Records, journal: Journal, start: Starter) -> None:
    second = await start()
    await second.close()
    first, last = await reader.logs(OPERATOR)
    assert (first.log, first.seq, first.closed, first.node) == (journal.log, 4, False, "node-1")
    assert first.chain == journal.head().chain.hex()
    assert (last.log, last.seq, last.closed) == (second.log, 1, True)


async def test_follow_passes_nothing_over(reader: Records, journal: Journal, start: Starter) -> None:
    second = await start()
    cursor = {log.log: log.seq for log in await reader.logs(OPERATOR)}
    assert await reader.follow(OPERATOR, cursor) == []
    third = await start()
    await second.commit(event("late", at=1))  # an old time, committed now
    await journal.commit(event("r5"))
    found = await reader.follow(OPERATOR, cursor)
    assert {(r.log, r.seq) for r in found} == {(journal.log, 5), (second.log, 1), (third.log, 0)}
    assert len(await reader.follow(OPERATOR, cursor, limit=2)) == 2
    assert [r.body for r in await reader.follow(STRANGER, cursor)] == [None] * 3


async def test_altered_bytes_are_shown_but_not_read(reader: Records, journal: Journal, flaky: Flaky) -> None:
    with flaky.inner.write_transaction() as conn:
        conn.execute(text("UPDATE audit_records SET bytes = chain WHERE seq = 1"))
    found = (await reader.records(OPERATOR, journal.log))[1]
    assert (found.body, found.leaf) == (None, leaf_hash(found.bytes or b"").hex())
    assert not [record for record in await reader.search(OPERATOR, RecordFilter()) if record.seq == 1]


@pytest.mark.parametrize("column", ["account", "operation", "at", "actor_account", "access_key_id", "error", "type"])
async def test_record_whose_columns_were_altered_is_shown_by_its_bytes_or_not_at_all(
    reader: Records, journal: Journal, flaky: Flaky, column: str
) -> None:
    before = await reader.records(OPERATOR, journal.log)
    with flaky.inner.write_transaction() as conn:
        value = "7" if column == "at" else "'999999999999'"
        conn.execute(text(f"UPDATE audit_records SET {column} = {value} WHERE seq = 1"))
    assert await reader.records(OPERATOR, journal.log) == before
    assert (await reader.records(STRANGER, journal.log))[1].body is None
    assert not [record for record in await reader.search(STRANGER, RecordFilter()) if record.body]
    assert not [record for record in await reader.search(OPERATOR, RecordFilter(limit=1000)) if record.seq == 1]


async def test_search_altered_record_hides_none_of_the_older_ones(
    reader: Records, journal: Journal, flaky: Flaky
) -> None:
    del journal
    whole = await search(reader, OPERATOR)
    with flaky.inner.write_transaction() as conn:
        conn.execute(text("UPDATE audit_records SET operation = 'altered' WHERE seq = 3"))
    (hidden,) = set(whole) - set(await search(reader, OPERATOR))
    assert await search(reader, OPERATOR, limit=len(whole) - 1) == [each for each in whole if each != hidden]


async def test_database_away_is_unavailable(reader: Records, flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object, **_how: object) -> None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "away")

    monkeypatch.setattr(flaky.inner, "read", away)
    with pytest.raises(DaypassError):
        await reader.logs(OPERATOR)


# --- Sessions


@pytest.fixture
async def sessions(start: Starter) -> Journal:
    """Sessions 0 to 9 of ACCOUNT, one a second; 5 was chained from 4; 9 is of another account and role."""
    journal: Journal = await start()
    for n in range(10):
        claims = session(f"{n:032x}", issued_at=T0 + n * 1000)
        if n == 0:
            claims = structs.replace(claims, expires_at=T0 + 30_000)  # over
        if n == 5:
            parent = session(f"{4:032x}", issued_at=T0 + 4000).hops[-1]
            last = Hop(claims.session_id, ACCOUNT, "AROASECOND", T0 + 5000, FeedPosition("life", 1), "ASIA5", "job")
            claims = structs.replace(claims, principal_id="AROASECOND", hops=(claims.hops[0], parent, last))
        if n == 9:
            claims = session(f"{9:032x}", issued_at=T0 + 9000, account=OTHER, principal_id="AROAOTHER")
        await journal.commit(event(str(n), type=EventType.SESSION_ISSUED, session_id=claims.session_id), claims)
    return journal


async def listed(reader: Records, viewer: Viewer, **query: Any) -> list[int]:
    found, _ = await reader.sessions(viewer, SessionFilter(**query))
    return [int(view.claims.session_id, 16) for view in found]


async def test_sessions_are_those_of_the_viewers_account(reader: Records, sessions: Journal) -> None:
    assert await listed(reader, ACTOR) == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert await listed(reader, OWNER) == [9]
    assert await listed(reader, ACTOR, account=OTHER) == []
    assert await listed(reader, OPERATOR) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert await listed(reader, OPERATOR, account=OTHER) == [9]
    assert await listed(reader, Viewer("")) == []


async def test_sessions_filters(reader: Records, sessions: Journal) -> None:
    assert await listed(reader, ACTOR, principal_id="AROASECOND") == [5]
    assert await listed(reader, OPERATOR, root_principal_id="AIDAALICE", active=True) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert await listed(reader, ACTOR, active=False) == [0]
    assert await listed(reader, ACTOR, session_id=f"{3:032x}") == [3]


async def test_session_hours_count_the_newest_sessions_that_the_viewer_may_see(
    reader: Records, sessions: Journal
) -> None:
    hour = T0 // 3_600_000

    async def hours(viewer: Viewer, limit: int = 100, **query: Any) -> list[tuple[int, int]]:
        return await reader.session_hours(viewer, SessionFilter(**query), limit)

    assert await hours(ACTOR) == [(hour, 9)]
    assert await hours(OPERATOR) == [(hour, 10)]
    assert await hours(OPERATOR, limit=4) == [(hour, 4)]
    assert await hours(ACTOR, principal_id="AROASECOND") == [(hour, 1)]
    assert await hours(ACTOR, since=T0 + 7000) == [(hour, 2)]
    assert await hours(ACTOR, account=OTHER) == []


async def ended_by(reader: Records, role_id: str, most: int = 100) -> list[int]:
    revocation = Revocation("v", ACCOUNT, "role", role_id, issued_before=T0 + 90_000, created_at=T0 + 90_000)
    return sorted([int(one.session_id, 16) async for one in reader.may_be_ended([revocation], most)])


async def test_sessions_that_may_be_ended_are_those_of_the_principal_and_chained_ones(
    reader: Records, sessions: Journal, plan: Callable[[Callable[[Any], object]], str]
) -> None:
    assert await ended_by(reader, "AROAOTHER") == [5, 9]
    assert await ended_by(reader, "AIDAALICE") == [1, 2, 3, 4, 5, 6, 7, 8, 9], "0 has expired"
    assert len(await ended_by(reader, "AIDAALICE", most=4)) == 4
    of_role = Revocation("v", ACCOUNT, "role", "AROAOTHER", issued_before=T0, created_at=T0)
    steps = plan(lambda conn: active_sessions(conn, [of_role], T0, 10))
    assert steps.count("sessions USING INDEX ix_sessions_active") == 3
    assert "SCAN sessions" not in steps


async def test_revoked_is_computed_and_cascades_down_the_chain(
    reader: Records, sessions: Journal, index: RevocationIndex
) -> None:
    index.add(Revocation("v", ACCOUNT, "session", f"{4:032x}", issued_before=0, created_at=T0 + 9, position=5))
    assert await listed(reader, ACTOR, revoked=True) == [5, 4]
    assert await listed(reader, ACTOR, active=True) == [8, 7, 6, 3, 2, 1]
    (view,) = (await reader.sessions(ACTOR, SessionFilter(session_id=f"{5:032x}")))[0]
    assert view.revoked_by is not None
    assert (view.revoked_by.id, view.active, view.depth) == ("v", False, 2)
    assert (view.log, view.seq) == (sessions.log, 6)
    assert len(view.claims.hops) == 3


async def test_sessions_page_through_a_computed_filter(
    reader: Records, sessions: Journal, index: RevocationIndex
) -> None:
    for n in (1, 3, 8):
        index.add(Revocation(f"v{n}", ACCOUNT, "session", f"{n:032x}", issued_before=0, created_at=T0, position=5))
    query, seen = SessionFilter(revoked=True, limit=2), []
    while True:
        page, before = await reader.sessions(ACTOR, query)
        seen += [int(view.claims.session_id, 16) for view in page]
        if before is None:
            break
        query = replace(query, before=before)
    assert seen == [8, 3, 1]


def insert(conn: Any, table: Table, **values: str) -> None:
    """A row whose other columns are empty."""
    empty: dict[type, Any] = {str: "", int: 0, bytes: b"", bool: False}
    blank = {each.name: empty[each.type.python_type] for each in table.c if not each.nullable}
    conn.execute(table.insert().values({**blank, **values}))


async def test_revoked_sessions_of_each_kind_of_subject_are_those_that_a_search_without_columns_finds(
    reader: Records, start: Starter, flaky: Flaky, index: Index
) -> None:
    journal, seen, n = await start(), FeedPosition("life", 1), 0
    sessions = {}
    for person, key in (("AIDAANN", "AKIAANN"), ("AIDALEE", "AKIALEE")):
        own = Hop("", ACCOUNT, person, T0, seen, key, "person")
        user = Hop(f"{(n := n + 1):032x}", ACCOUNT, person, T0, seen, f"ASIA{n}", "person")
        for above in ((own,), (own, user)):
            for role in ("AROAONE", "AROATWO"):
                first = Hop(f"{(n := n + 1):032x}", ACCOUNT, role, T0, seen, f"ASIA{n}", "job", f"{n:032x}")
                second = Hop(f"{(n := n + 1):032x}", ACCOUNT, "AROATHREE", T0, seen, f"ASIA{n}", "job")
                sessions |= {hops[-1].session_id: hops for hops in ((*above, first), (*above, first, second))}
        sessions[user.session_id] = (own, user)
    for session_id, hops in sessions.items():
        kind = SessionKind.ROLE if hops[-1].principal_id[:4] == "AROA" else SessionKind.USER
        claims = structs.replace(
            session(session_id), hops=hops, principal_id=hops[-1].principal_id, kind=kind, expires_at=T0 + 90_000
        )
        await journal.commit(event(session_id, type=EventType.SESSION_ISSUED, session_id=session_id), claims)
    granted = [hop for hops in sessions.values() for hop in hops if hop.grant_id]
    with flaky.inner.write_transaction() as conn:
        insert(conn, ENTITY_TABLES[AccessKey].table, id="AKIAANN", owner_id="AIDAANN")
        for hop in {hop.grant_id: hop for hop in granted}.values():
            [chain] = [hops for hops in sessions.values() if hops[-1] == hop]
            insert(
                conn,
                ENTITY_TABLES[Grant].table,
                id=hop.grant_id,
                principal_id=chain[0].principal_id,
                role_id=hop.principal_id,
            )
    subjects = {
        *(("session", hop.session_id) for hops in sessions.values() for hop in hops if hop.session_id),
        *(("principal", hop.principal_id) for hops in sessions.values() for hop in hops),
        *(("grant", hop.grant_id) for hop in granted),
        *(("access_key", key) for key in ("AKIAANN", "ASIA2", "AKIANONE")),
        *(("account", ACCOUNT), ("source_identity", "ann"), ("client", "app"), ("session", "f" * 32)),
    }
    for subject, value in sorted(subjects):
        revocation = Revocation("v", ACCOUNT, subject, value, issued_before=0, created_at=T0, position=5)
        index.add(revocation)
        index.known = [revocation]
        found = await reader.sessions(OPERATOR, SessionFilter(revoked=True, limit=1000))
        every = await reader.sessions(OPERATOR, SessionFilter(limit=1000))
        expected = [view.claims.session_id for view in every[0] if view.revoked_by is not None]
        assert [view.claims.session_id for view in found[0]] == expected, (subject, value)
        index.remove(revocation)


@pytest.mark.parametrize(("subject", "value"), [("session", f"{4:032x}"), ("principal", "AROASECOND")])
async def test_revoked_sessions_are_found_without_decoding_the_others(
    reader: Records, sessions: Journal, index: Index, monkeypatch: pytest.MonkeyPatch, subject: str, value: str
) -> None:
    from daypass.audit import rows as session_rows

    decoded: list[Any] = []
    real = session_rows.claims_of
    monkeypatch.setattr(session_rows, "claims_of", lambda body: decoded.append(body) or real(body))
    assert await listed(reader, ACTOR, revoked=True) == []
    assert decoded == []
    index.add(Revocation("v", ACCOUNT, subject, value, issued_before=0, created_at=T0, position=5))
    assert await listed(reader, ACTOR, revoked=True) == ([5, 4] if subject == "session" else [5])
    assert len(decoded) <= 2


# --- Plans: the indexes that the hot path pays for must be the ones that are used


@pytest.fixture
def plan(flaky: Flaky) -> Callable[[Callable[[Any], object]], str]:
    """How SQLite runs the statements of a function."""
    if flaky.dialect != "sqlite":
        pytest.skip("PostgreSQL plans by statistics, which a small table does not have")

    def planned(query: Callable[[Any], object]) -> str:
        def run(conn: Any) -> str:
            plans = []
            execute = conn.execute

            def explained(statement: Any, *given: Any) -> Any:
                compiled = statement.compile(conn, compile_kwargs={"literal_binds": True})
                plans.extend(r[3] for r in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))
                return execute(statement, *given)

            conn.execute = explained
            try:
                query(conn)
            finally:
                del conn.execute
            return " | ".join(plans)

        return flaky.read(run)  # type: ignore[no-any-return]

    return planned


async def test_search_by_id_uses_its_index(
    plan: Callable[[Callable[[Any], object]], str], reader: Records, journal: Journal
) -> None:
    def searched(**query: Any) -> str:
        return plan(lambda conn: search_records(conn, ACTOR, RecordFilter(**query)))

    by_request = searched(request_id="r1")
    assert "ix_audit_records_request_key" in by_request
    by_session = searched(session_id="e" * 32)
    for index in ("ix_audit_records_session_use", "sqlite_autoindex_sessions_1"):
        assert index in by_session
    assert "SCAN audit_records" not in by_request + by_session
    for name in ("type", "operation", "error"):
        rare = searched(**{name: "not there"})
        assert f"ix_audit_records_{name}" in rare
        assert "SCAN" not in rare
    assert "ix_audit_records_operation" not in searched(operation="sts:AssumeRole")
    by_account = searched(since=T0)
    assert "ix_audit_records_account " in by_account
    assert "ix_audit_records_actor_account" in by_account
    assert "SCAN" not in by_account


async def test_search_by_access_key_finds_each_record_of_it_and_verify_knows_when_it_would_not(
    reader: Records, journal: Journal, flaky: Flaky, url: str
) -> None:
    hour = 3_600_000
    times = [T0 + hour * each // 2 for each in (0, 9, -9, 3, -3, 1, 40)]
    for number, at in enumerate(times):
        await journal.commit(event(f"k{number}", at=at, actor={"account": ACCOUNT, "access_key_id": "AKIAWANDERS"}))
    newest_first = sorted(range(len(times)), key=lambda number: -times[number])
    assert await search(reader, ACTOR, access_key_id="AKIAWANDERS") == [f"k{number}" for number in newest_first]
    both = await search(
        reader, ACTOR, access_key_ids=("AKIAWANDERS", "AKIAABSENT"), since=T0 + hour, until=T0 + 5 * hour
    )
    assert both == ["k1", "k3"]
    record = OfflineRecord(Path(url.removeprefix("sqlite:///"))) if flaky.dialect == "sqlite" else PostgresRecord(url)
    assert not [each for each in record.verified() if isinstance(each, BadRecord)]
    with flaky.inner.write_transaction() as conn:
        wanders = "FROM audit_hours WHERE value = 'AKIAWANDERS'"
        conn.execute(text(f"DELETE {wanders} AND hour = (SELECT max(hour) {wanders})"))  # our words
    (bad,) = [each for each in record.verified() if isinstance(each, BadRecord)]
    assert (bad.seq, bad.why) == (11, "altered: column hour in audit_hours does not follow from the event")


@pytest.mark.parametrize("viewer", [ACTOR, OPERATOR, OWNER])
@pytest.mark.parametrize(
    "query",
    [
        {"operation": "sts:GetCallerIdentity"},
        {"type": "session.issued"},
        {"changes": True},
        {"type": "request.allowed", "operation": "sts:GetCallerIdentity"},
        {"operation": "sts:GetCallerIdentity", "access_key_id": "AKIARARE"},
    ],
)
async def test_search_for_a_usual_value_reads_only_the_hours_that_have_it(
    reader: Records, journal: Journal, viewer: Viewer, query: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of 300 hours between the few that match are not read. More periods than the limit are found as well."""
    assert {"type": USUAL_TYPES, "operation": ("", *USUAL_OPERATIONS), "error": ("",)} == USUAL
    actor = {"account": ACCOUNT, "access_key_id": "AKIARARE"}
    for at in (T0, T0 + 300 * 3_600_000):
        await journal.commit(event("rare", at=at, account=OTHER, actor=actor))
        await journal.commit(event("changed", at=at, type=EventType.DIRECTORY_CHANGED, operation="iam:CreateUser"))
    usual = [event("usual", at=T0 + hour * 3_600_000, operation="sts:AssumeRole") for hour in range(1, 300)]
    await asyncio.gather(*(journal.commit(each) for each in usual))
    found = await reader.search(viewer, RecordFilter(**query, limit=1000))
    everything = await reader.search(viewer, RecordFilter(limit=1000))

    def matches(body: Any) -> bool:
        shown = {
            **body,
            "access_key_id": body.get("actor", {}).get("access_key_id"),
            "changes": body["type"] != "request.allowed",
        }
        return all(shown.get(name) == value for name, value in query.items())

    assert found == [each for each in everything if each.body and matches(each.body)]
    monkeypatch.setattr("daypass.audit.read._PERIODS", 1)
    assert await reader.search(viewer, RecordFilter(**query, limit=1000)) == found


@pytest.mark.parametrize("viewer", [ACTOR, OPERATOR])
async def test_search_by_access_key_compares_the_key_in_the_index_alone(
    plan: Callable[[Callable[[Any], object]], str], reader: Records, journal: Journal, viewer: Viewer
) -> None:
    """An index that covers the conditions reads no row of another key. A key that is on no record reads no record."""
    (known,) = {
        each.body["actor"]["access_key_id"]
        for each in await reader.search(ACTOR, RecordFilter(operation="sts:AssumeRole"))
        if each.body
    }

    def searched(key: str) -> str:
        def run(conn: Any) -> None:
            execute = conn.execute

            def explained(query: Any) -> Any:
                if audit_records in query.get_final_froms():
                    execute(query.with_only_columns(audit_records.c.at).order_by(None).limit(None))
                    query = query.limit(0)
                return execute(query)

            conn.execute = explained
            search_records(conn, viewer, RecordFilter(access_key_id=key))

        return plan(run)

    assert "audit_records" not in searched("AKIAABSENT")
    by_key = searched(known)
    assert "COVERING INDEX ix_audit_records_a" in by_key, by_key
    assert ("INDEX ix_audit_records_actor_account" in by_key) is (viewer is ACTOR), by_key


async def test_a306_search_of_an_account_waits_for_no_other_account_and_urgent_reads_for_none(
    reader: Records, journal: Journal, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revocations count the sessions that they end: before, they waited for all searches of everybody."""
    del journal
    begun, go_on, real = threading.Semaphore(0), threading.Event(), flaky.inner.read
    order: list[str] = []

    def slow(query: Callable[[Connection], Any], **more: Any) -> Any:
        search = getattr(query, "__qualname__", "").startswith("Records.search")
        order.append("search" if search else "sessions")
        if search:
            begun.release()
            go_on.wait(30)
        return real(query, **more)

    monkeypatch.setattr(flaky.inner, "read", slow)
    searches = [asyncio.create_task(reader.search(OWNER, RecordFilter())) for _ in range(20)]
    for _ in range(2):  # both threads for searches
        await asyncio.to_thread(begun.acquire, timeout=30)
    try:
        await asyncio.wait_for(ended_by(reader, "AROADEPLOY"), 20)
        listed = asyncio.create_task(reader.sessions(STRANGER, SessionFilter()))
        await asyncio.sleep(0)
    finally:
        go_on.set()
    await asyncio.gather(listed, *searches)
    assert order[:3] == ["search", "search", "sessions"]  # both threads for searches, then the urgent one
    assert "sessions" in order[3:6]  # the other account's turn comes after one search, on each thread


async def test_list_sessions_uses_the_index_of_its_order(
    plan: Callable[[Callable[[Any], object]], str], reader: Records, journal: Journal
) -> None:
    def listed(viewer: Viewer, **query: Any) -> str:
        return plan(lambda conn: list_sessions(conn, viewer, SessionFilter(**query), T0, 10))

    for before in (None, (T0, "e" * 32)):
        assert "ix_sessions_account (account=" in listed(ACTOR, before=before)
        everywhere = listed(OPERATOR, before=before)
        assert "sessions USING INDEX sqlite_autoindex_sessions_1" in everywhere
        assert "TEMP B-TREE" not in everywhere
        since = listed(ACTOR, before=before, since=T0 - 9, principal_id="AROADEPLOY")
        assert "ix_sessions_account (account=? AND issued_at>?" in since, "older sessions are not read"
    recent = plan(lambda conn: recently_used(conn, 10))
    assert "sessions USING INDEX sqlite_autoindex_sessions_1" in recent


async def test_search_by_session_finds_the_record_that_issued_it_and_its_others(
    reader: Records, journal: Journal
) -> None:
    claims = session("0" * 31 + "1", issued_at=T0 + 5)
    await journal.commit(event("r5", at=T0 + 5, type=EventType.SESSION_ISSUED, session_id=claims.session_id), claims)
    await journal.commit(event("r6", at=T0 + 6, session_id=claims.session_id))
    await journal.commit(event("r7", at=T0 + 7, session_id="0" * 31 + "2"))
    assert await search(reader, ACTOR, session_id=claims.session_id) == ["r6", "r5"]
    assert await search(reader, ACTOR, session_id=claims.session_id, request_id="r5") == ["r5"]
    assert await search(reader, STRANGER, session_id=claims.session_id) == []


async def test_list_sessions_of_all_accounts_is_ordered_by_their_ids(reader: Records, journal: Journal) -> None:
    for number, issued_at in ((1, T0 + 9), (2, T0 + 5), (3, T0 + 7)):  # a clock that was set back
        claims = session(f"{number:032x}", issued_at=issued_at, account=OTHER if number == 3 else ACCOUNT)
        await journal.commit(event(str(number), type=EventType.SESSION_ISSUED, session_id=claims.session_id), claims)
    assert await listed(reader, OPERATOR) == [3, 2, 1]
    assert await listed(reader, OPERATOR, before=(0, f"{3:032x}")) == [2, 1]
    assert await listed(reader, ACTOR) == [1, 2]
    assert await listed(reader, ACTOR, since=T0 + 5) == [1, 2]
    assert await listed(reader, ACTOR, since=T0 + 6) == [1]
    assert await listed(reader, ACTOR, before=(T0 + 9, f"{1:032x}")) == [2]
