from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.audit.format import leaf_hash
from daypass.audit.rows import SESSION_FIELDS, event_row, searchable, session_row
from daypass.domain.events import MAX_EVENT_BYTES, Event, EventType, decode
from daypass.domain.session import Hop, Seen, SessionClaims, SessionKind

HOSTILE = "a\r\nb\x1b[31mc\x00d\u202ee\ud800" + "x" * 1_000_000


def claims(**changes: object) -> SessionClaims:
    seen = Seen("life", 3)
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
    for value in (row.account, row.actor_account, row.operation, row.request_id, row.session_id, row.error):
        assert value.startswith("a��b�[31mc�d�e�xxx")
        assert len(value) == 256
        value.encode("utf-8")


@pytest.mark.parametrize("detail", [{"x": object()}, {"x": float("nan")}, {"x": b"bytes"}])
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


def test_session_row_projects_its_chain() -> None:
    row = dict(zip(SESSION_FIELDS, session_row(claims()), strict=True))
    assert row["session_id"] == "b" * 32
    assert row["parent_session_id"] == "a" * 32
    assert (row["root_principal_id"], row["root_access_key_id"]) == ("AIDAUSER", "AKIAUSER")
    assert (row["access_key_id"], row["depth"], row["kind"]) == ("ASIATWO", 2, "role")
    hops = json.loads(row["hops"])
    assert hops[0] == ["", "111122223333", "AIDAUSER", 1, ["life", 3], "AKIAUSER", "alice"]
    assert len(hops) == 3
    odd = (Hop('"\\', "é\ud800", "\n", 1, Seen("x\0", 2), "", "\u2028"), *claims().hops)
    plain = json.dumps(odd, separators=(",", ":")).encode("ascii")
    assert session_row(claims(hops=odd))[-1] == plain


TEXT = st.text(alphabet='AROab"\\\n\x7fé\ud800', max_size=9) | st.text(alphabet="AROa9-", max_size=900)
TIME = st.sampled_from((0, 1, 1_700_000_000_000, 2**63 - 1, 2**63, -5))


@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT, TIME, st.tuples(TEXT, TIME), TEXT, TEXT), min_size=1, max_size=4), TEXT, TIME
)
def test_session_row_is_what_is_searchable_and_a_plain_encoder_write(
    parts: list[tuple[Any, ...]], arn: str, end: int
) -> None:
    hops = tuple(Hop._make((*part[:4], Seen(*part[4]), *part[5:])) for part in parts)
    own, first = hops[-1], hops[0]
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
    assert row.pop("hops") == json.dumps(hops, separators=(",", ":")).encode("ascii")
    assert row.pop("depth") == sum(hop.principal_id.startswith("AROA") for hop in hops)
    assert (row.pop("issued_at"), row.pop("expires_at")) == tuple(
        min(max(at, 0), 2**63 - 1) for at in (own.issued_at, end)
    )
    assert row == {
        name: searchable(value, 2048)
        for name, value in {
            "session_id": own.session_id,
            "account": own.account,
            "kind": "role",
            "access_key_id": own.access_key_id,
            "principal_id": own.principal_id,
            "arn": arn,
            "name": own.name,
            "parent_session_id": hops[-2].session_id if len(hops) > 1 else "",
            "root_principal_id": first.principal_id,
            "root_access_key_id": first.access_key_id,
            "user_id": "",
            "source_identity": "alice",
            "grant_id": "",
        }.items()
    }


@given(st.text(max_size=400))
def test_searchable_is_short_printable_and_leaves_clean_text_alone(value: str) -> None:
    copy = searchable(value)
    assert len(copy) <= 256
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp", "Cf") for c in copy)
    if len(value) <= 256 and value.isprintable():
        assert copy == value
    assert searchable(copy) == copy
