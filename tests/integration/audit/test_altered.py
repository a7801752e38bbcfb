"""Every change to the record that a writer of the database can make behind its hashes: `audit verify` names it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, insert, text
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import ACCOUNT, Flaky, event, session

from daypass.audit.columns import MAX_AHEAD_MS
from daypass.audit.format import leaf_hash
from daypass.audit.read import list_logs, list_sessions, log_records, search_records
from daypass.audit.verify import BadRecord, VerifiedLog, verify_log_rows
from daypass.cli.record import OfflineRecord, OnlineRecord, PostgresRecord, StoredRecord
from daypass.client.errors import ClientError
from daypass.client.http import Connection as Client
from daypass.domain.events import EventType, encode
from daypass.ports import RecordFilter, RecordView, SessionFilter, Viewer
from daypass.ports.clock import MAX_JUMP_MS
from daypass.stores.records import audit_records
from daypass.stores.records import sessions as sessions_table

pytestmark = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)

OPERATOR = Viewer("000000000000", operator=True)
ONE, TWO = f"{1:032x}", f"{2:032x}"


@pytest.fixture
def record(url: str) -> StoredRecord:
    return PostgresRecord(url) if url.startswith("postgresql") else OfflineRecord(Path(url.removeprefix("sqlite:///")))


@pytest.fixture
async def log(start: Starter) -> str:
    """Records 1 and 3 issued sessions, record 2 did not; 4 closes the log."""
    journal = await start()
    await journal.commit(event("one", session_id=ONE, type=EventType.SESSION_ISSUED), session(ONE))
    await journal.commit(event("two"))
    await journal.commit(event("three", session_id=TWO, type=EventType.SESSION_ISSUED), session(TWO))
    await journal.close()
    return journal.log


def faults(record: StoredRecord) -> list[tuple[int, str]]:
    return [(found.seq, found.why) for found in record.verified() if isinstance(found, BadRecord)]


def tamper(flaky: Flaky, statement: str, **values: Any) -> None:
    with flaky.inner.write_transaction() as conn:
        assert conn.execute(text(statement), values).rowcount


def test_record_that_nobody_touched_verifies(record: StoredRecord, log: str) -> None:
    assert faults(record) == []
    assert len(record.verified()) == 1


@pytest.mark.parametrize(
    "column", ["at", "type", "account", "actor_account", "operation", "access_key_id", "error", "request_key"]
)
def test_altered_column_of_a_record_is_named(record: StoredRecord, log: str, flaky: Flaky, column: str) -> None:
    value = 5 if column in ("at", "request_key") else "x"
    tamper(flaky, f"UPDATE audit_records SET {column} = :value WHERE seq = 2", value=value)
    ((seq, why),) = faults(record)
    assert (seq, "altered: column" in why, "request" in why or column in why) == (2, True, True)


@pytest.mark.parametrize(
    "column", ["account", "kind", "principal_id", "root_principal_id", "issued_at", "expires_at", "depth"]
)
def test_altered_column_of_a_session_is_named(record: StoredRecord, log: str, flaky: Flaky, column: str) -> None:
    value = 5 if column in ("issued_at", "expires_at", "depth") else "x"
    tamper(flaky, f"UPDATE sessions SET {column} = :value WHERE session_id = :id", value=value, id=TWO)
    assert faults(record) == [(3, f"altered: column {column} of the row of the session that this event issued")]
    listed = flaky.read(lambda conn: list_sessions(conn, OPERATOR, SessionFilter(), 0, 10))
    assert [found.claims is not None for found in listed if found.place[1] == TWO] in ([False], [])


def test_removed_row_of_a_session_is_named(record: StoredRecord, log: str, flaky: Flaky) -> None:
    tamper(flaky, "DELETE FROM sessions WHERE session_id = :id", id=ONE)
    assert faults(record) == [(1, f"missing: the row of session {ONE}, which this event issued")]


@pytest.mark.parametrize(
    ("seq", "why"), [(2, "which did not issue it"), (1, "which did not issue it"), (9, "does not exist")]
)
def test_forged_row_of_a_session_is_named(record: StoredRecord, log: str, flaky: Flaky, seq: int, why: str) -> None:
    def forge(conn: Connection) -> None:
        row = dict(conn.execute(text("SELECT * FROM sessions WHERE session_id = :id"), {"id": ONE}).mappings().one())
        conn.execute(insert(sessions_table), {**row, "session_id": "z" * 32, "seq": seq, "principal_id": "x"})

    with flaky.inner.write_transaction() as conn:
        forge(conn)
    found = faults(record)
    assert [place for place, _ in found] == [seq]
    assert why in found[0][1]
    listed = flaky.read(lambda conn: list_sessions(conn, OPERATOR, SessionFilter(session_id="z" * 32), 0, 10))
    assert [found.claims for found in listed] == [None]


def test_row_of_a_session_in_a_log_that_does_not_exist_is_named(record: StoredRecord, log: str, flaky: Flaky) -> None:
    tamper(flaky, "UPDATE sessions SET log = :log WHERE session_id = :id", log="f" * 32, id=ONE)
    found = faults(record)
    assert (1, f"missing: the row of session {ONE}, which this event issued") in found
    assert [why for _, why in found if "does not exist" in why]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("installation", "x"),
        ("node", "x"),
        ("opened_at", 1),
        ("named_seq", 99),
        ("continues", "f" * 32),
        ("recorded_until", 1),
    ],
)
def test_altered_column_of_a_log_is_named_and_not_shown(
    record: StoredRecord, log: str, flaky: Flaky, column: str, value: Any
) -> None:
    before = flaky.read(list_logs)
    tamper(flaky, f"UPDATE audit_logs SET {column} = :value", value=value)
    assert faults(record) == [(0, f"altered: column {column} of the row of this log")]
    assert flaky.read(list_logs) == before


async def test_log_that_a_later_one_names_verifies_with_its_mark_and_not_without(
    record: StoredRecord, log: str, start: Starter, flaky: Flaky
) -> None:
    await (await start()).close()
    assert faults(record) == []
    tamper(flaky, "UPDATE audit_logs SET named_seq = -1 WHERE log = :log", log=log)
    assert faults(record) == [(0, "altered: column named_seq of the row of this log")]


async def test_log_that_is_recorded_until_after_its_opening_by_any_clock_verifies(
    record: StoredRecord, log: str, flaky: Flaky
) -> None:
    assert MAX_AHEAD_MS == MAX_JUMP_MS
    for until in ("opened_at + 1", f"opened_at - {MAX_JUMP_MS}"):
        tamper(flaky, f"UPDATE audit_logs SET recorded_until = {until}")
        assert faults(record) == []
    tamper(flaky, f"UPDATE audit_logs SET recorded_until = opened_at - {MAX_JUMP_MS} - 1")
    assert faults(record) == [(0, "altered: column recorded_until of the row of this log")]


@pytest.mark.parametrize(
    ("seq", "why"),
    [
        (1, "altered: the chain does not follow from the record before and this leaf"),
        (3, "written after the log was closed"),
    ],
)
async def test_record_copied_into_another_log_is_named(
    record: StoredRecord, log: str, start: Starter, flaky: Flaky, seq: int, why: str
) -> None:
    """In the place of another record, and after the end of the log."""
    journal = await start()
    await journal.commit(event("four"))
    await journal.close()
    with flaky.inner.write_transaction() as conn:
        copied = text("SELECT * FROM audit_records WHERE log = :log AND seq = 2")
        row = dict(conn.execute(copied, {"log": log}).mappings().one())
        replaced = text("DELETE FROM audit_records WHERE log = :log AND seq = :seq")
        conn.execute(replaced, {"log": journal.log, "seq": seq})
        conn.execute(insert(audit_records), {**row, "log": journal.log, "seq": seq})
    assert faults(record) == [(seq, why)]


def test_removed_row_of_a_log_is_named(record: StoredRecord, log: str, flaky: Flaky) -> None:
    tamper(flaky, "DELETE FROM audit_logs")
    assert faults(record) == [(0, "missing: the row of this log")]


def test_forged_row_of_a_log_is_named(record: StoredRecord, log: str, flaky: Flaky) -> None:
    columns = "installation, node, opened_at, named_seq"
    tamper(flaky, f"INSERT INTO audit_logs (log, {columns}) SELECT 'f', {columns} FROM audit_logs")
    assert faults(record) == [(0, "forged: the row of this log, which has no records")]


# --- Values of other types, which SQLite stores in any column


class Export:
    """A client's connection to a server that reads this database."""

    def __init__(self, flaky: Flaky) -> None:
        self._flaky = flaky

    def api(self, _method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path == "/audit/logs":
            logs = self._flaky.read(list_logs)
            return {"logs": [{"log": log.log, "seq": log.seq, "chain": log.chain} for log in logs]}
        log, after, limit = path.split("/")[3], int(query["after"]), int(query["limit"])
        rows = self._flaky.read(lambda conn: log_records(conn, OPERATOR, log, after, limit))
        return {"records": [_exported(row) for row in rows]}


def _exported(row: RecordView) -> dict[str, Any]:
    data = base64.b64encode(row.bytes or b"").decode()
    return {"log": row.log, "seq": row.seq, "leaf": row.leaf, "chain": row.chain, "bytes": data}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("bytes", value) for value in ("'x'", "CAST(x'fffe' AS TEXT)", "5", "5.5", "CAST(bytes || 'x' AS BLOB)")],
        *[("chain", value) for value in ("x'00'", "'x'", "5", "CAST(x'fffe' AS TEXT)")],
        *[("seq", value) for value in ("2.5", "'x'", "x'02'", "-1", "99")],
    ],
)
def test_value_of_another_type_is_named_from_the_file_and_by_a_server(
    record: StoredRecord, log: str, flaky: Flaky, column: str, value: str
) -> None:
    if not isinstance(record, OfflineRecord):
        pytest.skip("PostgreSQL's columns have types")
    tamper(flaky, f"UPDATE audit_records SET {column} = {value} WHERE seq = 2")
    online = OnlineRecord(cast(Client, Export(flaky)), "")
    for source in (record, online):
        found = [bad for bad in source.verified() if isinstance(bad, BadRecord)]
        assert {bad.log for bad in found} == {log}
        assert found[0].seq in ((0, 2, 5) if column == "seq" else (2,)), found
    flaky.read(lambda conn: search_records(conn, OPERATOR, RecordFilter(account=ACCOUNT)))


class Changing(Export):
    """A server that shows another record 2 when that record is asked for alone."""

    def api(self, method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
        answer = super().api(method, path, query)
        if query.get("after") == "1" and query["limit"] == "1":
            forged = encode(event("forged"))
            answer["records"][0] |= {"bytes": base64.b64encode(forged).decode(), "leaf": leaf_hash(forged).hex()}
        return answer


class Short(Export):
    """A server whose log ends before the head that it names."""

    def api(self, method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
        answer = super().api(method, path, query)
        return answer if "logs" in answer else {"records": [row for row in answer["records"] if row["seq"] < 2]}


def test_a260_proof_of_a_record_that_the_server_answers_differently_each_time_is_bad(log: str, flaky: Flaky) -> None:
    """The record that is shown is the record that is verified."""
    honest = OnlineRecord(cast(Client, Export(flaky)), "").proof(log, 2, None)
    assert honest is not None
    assert isinstance(honest[1], VerifiedLog)
    changing = OnlineRecord(cast(Client, Changing(flaky)), "").proof(log, 2, None)
    assert changing is not None
    assert isinstance(changing[1], BadRecord)
    assert (changing[1].seq, changing[0].data) == (2, encode(event("forged")))


@pytest.mark.parametrize("seq", [2, 3])
def test_proof_of_a_record_that_the_server_does_not_send_is_an_error(log: str, flaky: Flaky, seq: int) -> None:
    with pytest.raises(ClientError, match="ends before its head"):
        OnlineRecord(cast(Client, Short(flaky)), "").proof(log, seq, None)


def test_second_row_of_a_log_is_named(log: str) -> None:
    """The table's key prevents it, but the table can be replaced."""
    rows = [{"log": log, "installation": None, "node": None, "opened_at": 0, "named_seq": -1, "continues": None}] * 2
    opening = b'{"at":0,"detail":{},"type":"log.opened","v":1}'
    assert verify_log_rows({log: opening}, rows) == [BadRecord(log, 0, "forged: a second row of this log")]
