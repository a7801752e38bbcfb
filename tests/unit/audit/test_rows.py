from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from daypass.audit.columns import altered_column, altered_session_column, searchable
from daypass.audit.format import leaf_hash
from daypass.audit.rows import SESSION_FIELDS, event_row, session_record, session_row
from daypass.domain.events import MAX_EVENT_BYTES, Event, EventType, decode
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind

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
