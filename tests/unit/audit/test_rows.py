"""Rows of the record: ids, packing, stored bytes, order of writers."""

from __future__ import annotations

import gc
import time
import unicodedata
import uuid
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict
from sqlalchemy import create_engine
from tests.cost import only_new_garbage

from daypass.audit.batch import JournalOptions
from daypass.audit.columns import altered_column, altered_session_column, searchable
from daypass.audit.format import CHUNK_RECORDS, Unpacker, leaf_hash, pack, unpack
from daypass.audit.rows import SESSION_FIELDS, event_row, session_record, session_row
from daypass.audit.stored import events_of
from daypass.audit.writer import LogWriter
from daypass.crypto.ids import Ids
from daypass.domain.events import MAX_EVENT_BYTES, Event, EventType, decode
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.stores.records import audit_records

HOSTILE = "a\r\nb\x1b[31mc\x00d\u202ee\ud800" + "x" * 1_000_000


def claims(**changes: object) -> SessionClaims:
    seen = FeedPosition("life", 3)
    hops = (
        Hop("", "111122223333", "AIDAUSER", 1, seen, "AKIAUSER", "alice"),
        Hop("a" * 32, "111122223333", "AROAONE", 2, seen, "ASIAONE", "one"),
        Hop("b" * 32, "444455556666", "AROATWO", 3, seen, "ASIATWO", "two"),
    )
    values: dict[str, object] = {
        "kind": SessionKind.ROLE,
        "session_id": "b" * 32,
        "account": "444455556666",
        "principal_id": "AROATWO",
        "arn": "arn:aws:iam::444455556666:role/two",
        "name": "two",
        "issued_at": 3,
        "expires_at": 4,
        "seen": seen,
        "hops": hops,
        "source_identity": "alice",
    }
    return SessionClaims(**{**values, **changes})  # type: ignore[arg-type]


def test_a99_hostile_fields_become_one_escaped_record() -> None:
    event = Event(
        type=EventType.REQUEST_MALFORMED,
        at=1,
        account=HOSTILE,
        actor={"account": HOSTILE, "access_key_id": HOSTILE},
        source={"ip": "127.0.0.1", "user_agent": HOSTILE},
        request_id=HOSTILE,
        operation=HOSTILE,
        error=HOSTILE,
        session_id=HOSTILE,
        detail={"parameters": {"Name": HOSTILE}},
    )
    row = event_row(event)
    assert len(row.data) <= MAX_EVENT_BYTES
    assert row.data.isascii()
    assert row.data.decode("ascii").isprintable()  # one line, no control characters
    assert row.leaf == leaf_hash(row.data)
    assert decode(row.data)["source"]["user_agent"].startswith("a\r\nb\x1b[31mc\x00d\u202ee\ud800x")
    for value in (row.account, row.actor_account, row.operation, row.error):
        assert value.startswith("a��b�[31mc�d�e�xxx")
        assert len(value) <= 256
        value.encode("utf-8")
    assert altered_column(asdict(row), decode(row.data)) == ""


@pytest.mark.parametrize("detail", [{"x": object()}, {"x": {1: object()}}])
def test_event_that_cannot_be_encoded_is_recorded_without_its_detail(detail: dict[str, object]) -> None:
    row = event_row(Event(type=EventType.REQUEST_DENIED, at=1, operation="sts:AssumeRole", detail=detail))
    body = decode(row.data)
    assert (body["type"], body["operation"]) == ("request.denied", "sts:AssumeRole")
    assert "unencodable" in body["detail"]


def test_event_nested_too_deep_is_recorded_without_its_detail() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"d": deep}
    row = event_row(Event(type=EventType.REQUEST_DENIED, at=1, detail=deep))
    assert decode(row.data)["detail"] == {"unencodable": "RecursionError"}
    while deep:  # unwind by hand: freeing it at once would recurse too
        deep = deep["d"]  # type: ignore[assignment]


def test_actor_facts_of_other_types_are_recorded_as_text() -> None:
    assert event_row(Event(type=EventType.REQUEST_DENIED, at=-5, actor={"account": 7})).actor_account == "7"


def test_session_row_is_what_a_session_is_found_by() -> None:
    row = dict(zip(SESSION_FIELDS, session_row(claims()), strict=True))
    assert (row["session_id"], row["account"], row["principal_id"]) == ("b" * 32, "444455556666", "AROATWO")
    assert (row["root_principal_id"], row["depth"], row["kind"]) == ("AIDAUSER", 2, "role")
    assert (row["issued_at"], row["expires_at"]) == (3, 4)


def test_event_of_a_session_holds_the_whole_session() -> None:
    body = decode(event_row(Event(EventType.SESSION_ISSUED, 3, session=session_record(claims()))).data)
    assert body["session"]["hops"][0] == ["", "111122223333", "AIDAUSER", 1, ["life", 3], "AKIAUSER", "alice"]
    assert (len(body["session"]["hops"]), body["session"]["source_identity"]) == (3, "alice")


TEXT = st.text(alphabet='AROab"\\\n\x7fé\ud800', max_size=9) | st.text(alphabet="AROa9-", max_size=900)
GRANT = st.just("") | TEXT
TIME = st.sampled_from((0, 1, 1_700_000_000_000, 2**63 - 1, 2**63, -5))


@given(
    st.lists(
        st.tuples(TEXT, TEXT, TEXT, TIME, st.tuples(TEXT, TIME), TEXT, TEXT, GRANT, GRANT), min_size=1, max_size=4
    ),
    TEXT,
    TIME,
)
def test_session_row_is_what_verification_expects_from_its_event(
    parts: list[tuple[Any, ...]], arn: str, end: int
) -> None:
    hops = tuple(Hop(*part[:4], FeedPosition(*part[4]), *part[5:]) for part in parts)
    own = hops[-1]
    made = claims(
        session_id=own.session_id,
        account=own.account,
        principal_id=own.principal_id,
        name=own.name,
        arn=arn,
        issued_at=own.issued_at,
        expires_at=end,
        hops=hops,
    )
    row = dict(zip(SESSION_FIELDS, session_row(made), strict=True))
    body = decode(event_row(Event(EventType.SESSION_ISSUED, 3, session=session_record(made))).data)
    assert altered_session_column({"log": "", "seq": 1, **row}, body) == ""
    for name in row:
        assert altered_session_column({**row, name: "other"}, body) == name


@given(st.text(max_size=400))
def test_searchable_is_short_printable_and_leaves_clean_text_alone(value: str) -> None:
    copy = searchable(value)
    assert len(copy) <= 256
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp", "Cf") for c in copy)
    if len(value) <= 256 and value.isprintable():
        assert copy == value
    assert searchable(copy) == copy


# --- The ids that the record is indexed by grow with time: an index on random ones costs more than the row


def test_session_ids_are_in_order_of_time() -> None:
    ids, made = Ids(), []
    began = time.time_ns() // 1_000_000
    for _ in range(5):
        made.append(ids.session())
        time.sleep(0.002)
    assert made == sorted(made)
    assert all(len(each) == 32 and each == each.lower() and int(each, 16) >= 0 for each in made)
    assert began <= int(made[-1][:12], 16) <= time.time_ns() // 1_000_000


def test_request_ids_are_version_7_uuids_in_order_of_time() -> None:
    ids, made = Ids(), []
    for _ in range(5):
        made.append(ids.request())
        time.sleep(0.002)
    assert made == sorted(made)
    for each in made:
        parsed = uuid.UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 7, uuid.RFC_4122)


def test_ids_of_the_same_millisecond_differ_and_are_in_order() -> None:
    ids = Ids()
    made = [ids.session() for _ in range(20_000)]
    assert made == sorted(made)
    assert len({ids.session() for _ in range(20_000)} | {ids.request() for _ in range(20_000)}) == 40_000


# --- test_packing


EVENT = (
    b'{"account":"111122223333","at":1700000000000,"operation":"sts:GetCallerIdentity","type":"request.allowed","v":1}'
)


@given(
    st.lists(st.text(alphabet="ab", min_size=1, max_size=9).map(lambda t: b'{"' + t.encode() + b'":1}'), max_size=200)
)
def test_unpack_of_pack_gives_every_event_back(events: list[bytes]) -> None:
    stored = pack(events)
    assert len(stored) == len(events)
    unpacker = Unpacker()
    assert [unpacker.data(seq, row) for seq, row in enumerate(stored)] == events
    assert sum(1 for row in stored if row) == -(-len(events) // CHUNK_RECORDS)


def test_pack_large_events_are_chunks_of_their_own() -> None:
    large = [b'{"' + b"x" * 100_000 + b'":1}'] * 3
    assert all(pack(large))
    assert [unpack(row) for row in pack(large)] == [[event] for event in large]


def test_pack_of_alike_events_is_a_small_part_of_them() -> None:
    assert sum(map(len, pack([EVENT] * 50))) < 50 * len(EVENT) / 10
    assert len(pack([EVENT])[0]) < len(EVENT) / 2


def test_unpack_of_bytes_without_a_version_is_nothing() -> None:
    assert unpack(EVENT) == unpack(b"") == []


def bomb() -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"\x01" + deflater.compress(bytes(50_000_000)) + deflater.flush()


@pytest.mark.parametrize(
    "damaged",
    [lambda: pack([EVENT])[0][:-3], lambda: b"\x01", lambda: b"\x01junk", bomb],
    ids=["cut", "empty", "junk", "bomb"],
)
def test_unpack_what_was_damaged_is_nothing(damaged: Callable[[], bytes]) -> None:
    assert unpack(damaged()) == []


def test_unpacker_without_the_first_record_of_a_chunk_has_nothing() -> None:
    unpacker = Unpacker()
    assert unpacker.data(5, b"") == b""
    assert unpacker.data(6, pack([EVENT])[0]) == EVENT
    assert unpacker.data(7, b"") == b""


# --- How the bytes of events are read


@pytest.mark.parametrize("count", [10, 1_000])
def test_events_of_leaves_nothing_for_the_garbage_collector_that_grows_with_the_number_of_records(count: int) -> None:
    """The garbage collector stops the event loop: see ADR 0011."""
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        audit_records.create(conn)
        events_of(conn, [("log", 1)])  # compiles the statement
        with only_new_garbage():
            assert events_of(conn, [("log", number) for number in range(count)]) == {}
            assert gc.collect() < 10 + count // 10
    engine.dispose()


# --- The writer as other threads see it while its own thread changes it


class _FinishesMeanwhile(LogWriter):
    """Its batch ends after the first time that another thread reads `busy_since`."""

    def __init__(self) -> None:
        self._options = JournalOptions()
        self._reads = [time.monotonic()]
        self._sink: Any = SimpleNamespace(hangs=False)
        self.unavailable_since = 0.0

    @property
    def busy_since(self) -> float:
        return self._reads.pop() if self._reads else 0.0


def test_stuck_batch_that_ends_while_it_is_read_is_not_stuck() -> None:
    assert not _FinishesMeanwhile().stuck_seconds


class _UnderWay(LogWriter):
    """Its batch began `busy` seconds ago, and its database has been unavailable for `away` seconds; 0 is: neither."""

    def __init__(self, *, hangs: bool, busy: float = 0.0, away: float = 0.0, deadline: float = 5.0) -> None:
        now = time.monotonic()
        self._options = JournalOptions(deadline_seconds=deadline)
        self._sink: Any = SimpleNamespace(hangs=hangs)
        self.busy_since = now - busy if busy else 0.0
        self.unavailable_since = now - away if away else 0.0


def test_stuck_seconds_are_those_of_the_batch_or_of_the_outage() -> None:
    assert _UnderWay(hangs=False, busy=1.5).stuck_seconds == 0.0
    assert _UnderWay(hangs=False, busy=9.0).stuck_seconds >= 9.0
    assert _UnderWay(hangs=True, busy=1.5).stuck_seconds >= 1.5
    assert _UnderWay(hangs=True, busy=0.5).stuck_seconds == 0.0
    assert _UnderWay(hangs=True, away=0.5).stuck_seconds >= 0.5
    assert _UnderWay(hangs=False, away=0.5).stuck_seconds == 0.0


def test_stuck_batch_whose_own_callers_still_wait_refuses_no_others() -> None:
    assert _UnderWay(hangs=False, busy=4.0).stuck_seconds == 0.0
    assert _UnderWay(hangs=False, busy=4.0, deadline=3.0).stuck_seconds >= 4.0
    assert _UnderWay(hangs=False, busy=40.0, deadline=60.0).stuck_seconds == 0.0
