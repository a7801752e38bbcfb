"""Messages, texts, persons and risk of access requests, at their boundaries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from daypass.domain.access.message import Message, email_of, message_of, slack_of, teams_of
from daypass.domain.access.request import identifier, identifiers, original_principal, same_person
from daypass.domain.access.risk import FEATURES, RiskFacts, breadth_of, network_of, score
from daypass.domain.access.rule import LimitExceeded, ReasonRule, check_reason, check_ticket
from daypass.domain.access.terms import MAX_REASON, MAX_TICKET
from daypass.domain.session import FeedPosition, Hop

DAY = 86_400_000
NOON = 1_800_014_400_000  # 12:00 UTC
CALM = RiskFacts(
    at=NOON,
    role_ids=("AROA1",),
    used_role_ids=frozenset({"AROA1"}),
    session_times=tuple(NOON - n * DAY for n in range(1, 8)),
    source_ip="192.0.2.9",
    known_ips=frozenset({"192.0.2.200"}),
    denials=0,
    key_created_at=NOON - 400 * DAY,
    breadth=0.0,
    break_glass=False,
)


def test_score_of_the_usual_is_zero_without_reasons() -> None:
    assert score(CALM) == (0, ())


def test_weights_add_up_to_a_hundred() -> None:
    assert sum(weight for weight, _ in FEATURES.values()) == 100


@pytest.mark.parametrize(
    ("changes", "expected", "feature"),
    [
        ({"used_role_ids": frozenset()}, 20, "first_time"),
        ({"breadth": 1.0}, 15, "breadth"),
        ({"at": NOON + 12 * 3_600_000}, 10, "unusual_hour"),
        ({"source_ip": "198.51.100.1"}, 10, "new_network"),
        ({"denials": 5}, 10, "recent_denials"),
        ({"denials": 500}, 10, "recent_denials"),
        ({"key_created_at": NOON}, 5, "new_key"),
        ({"device_created_at": NOON}, 5, "new_device"),
        ({"alerts": 1}, 10, "open_alerts"),
        ({"peer_times": tuple(NOON + 12 * 3_600_000 for _ in range(5))}, 5, "unusual_hour_for_peers"),
        ({"peer_ips": frozenset({"198.51.100.1"})}, 5, "new_network_for_peers"),
        ({"break_glass": True}, 5, "emergency"),
    ],
)
def test_score_of_one_feature_is_its_weight_and_says_so(
    changes: dict[str, object], expected: int, feature: str
) -> None:
    found, [reason] = score(replace(CALM, **changes))
    assert (found, reason.feature) == (expected, feature)
    assert reason.text


@pytest.mark.parametrize(
    "changes",
    [
        {"peer_times": (NOON + 12 * 3_600_000,) * 4},
        {"peer_times": tuple(NOON - n * DAY for n in range(9))},
        {"peer_ips": frozenset({"192.0.2.1"})},
        {"device_created_at": NOON - 7 * DAY},
        {"device_created_at": 0, "alerts": 0},
    ],
)
def test_score_of_what_peers_do_and_of_old_devices_is_zero(changes: dict[str, object]) -> None:
    assert score(replace(CALM, **changes)) == (0, ())


def test_score_of_everything_is_a_hundred_and_always_the_same() -> None:
    worst = replace(
        CALM,
        at=NOON + 12 * 3_600_000,
        used_role_ids=frozenset(),
        source_ip="198.51.100.1",
        denials=9,
        key_created_at=NOON + 12 * 3_600_000,
        breadth=1.0,
        break_glass=True,
        device_created_at=NOON + 12 * 3_600_000,
        alerts=2,
        peer_times=(NOON,) * 5,
        peer_ips=frozenset({"203.0.113.7"}),
    )
    found, reasons = score(worst)
    assert (found, reasons[0].feature) == (100, "first_time")
    assert {score(worst) for _ in range(5)} == {(found, reasons)}


def test_networks_and_breadth() -> None:
    assert network_of("192.0.2.9") == "192.0.2.0/24"
    assert network_of("2001:db8:1:2::1") == "2001:db8:1::/48"
    assert network_of("unix") == "unix"
    assert (breadth_of(["*"]), breadth_of(["s3:*"]), breadth_of(["s3:Get*"])) == (1.0, 0.2, 0.0)


HOSTILE = "<!channel> *bold* [x](https://evil.example) \u202etxt\r\nBcc: x@evil.example"


def test_notification_text_of_people_is_never_markup() -> None:
    document = {"type": "access.requested", "actor": "arn:ann", "link": "https://d/", "detail": {"reason": HOSTILE}}
    message = message_of(document)
    section = json.loads(slack_of(message))["blocks"][0]["text"]
    assert section["type"] == "plain_text"
    facts = json.loads(teams_of(message))["attachments"][0]["content"]["body"][1]["facts"]
    assert "\\[x\\]\\(https" in facts[1]["value"]
    subject, text = email_of(message)
    assert "\n" not in subject
    assert not any(line.startswith("Bcc:") for line in text.splitlines())
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("hours", "unusual"), [(0, False), (1, False), (2, True), (-1, False), (-2, True), (23, False)]
)
def test_hour_is_unusual_when_no_session_was_within_an_hour_of_it(hours: int, unusual: bool) -> None:
    _, reasons = score(replace(CALM, at=NOON + hours * 3_600_000, session_times=(NOON,) * 5))
    assert ("unusual_hour" in [reason.feature for reason in reasons]) == unusual


# --- Messages of notifications, and the limits of a request's texts, at their boundaries


def document(**detail: Any) -> dict[str, Any]:
    return {"type": "access.requested", "actor": "ann", "link": "", "detail": detail}


def test_message_of_shows_what_is_there_in_order() -> None:
    shown = message_of(
        document(ticket="T-1", reason="x\u202ey", roles=["a", "b"], risk=0, seconds=60, grants=[], other=1)
    )
    assert shown.lines == (("by", "ann"), ("roles", "a, b"), ("reason", "x y"), ("ticket", "T-1"), ("seconds", "60"))


@pytest.mark.parametrize(
    ("detail", "title"),
    [
        ({}, "Access is requested"),
        (
            {"roles": ["arn:aws:iam::111122223333:role/prod/x"], "requester": "arn:aws:iam::111122223333:user/a/ann"},
            "Access is requested: x, for ann",
        ),
        ({"roles": ["r/a", "r/b", "r/c", "r/d", "r/e"]}, "Access is requested: a, b, c and 2 more"),
        (
            {"roles": ["r/a"], "requester": "arn:aws:sts::111122223333:assumed-role/engineer/boss"},
            "Access is requested: a",
        ),
    ],
)
def test_message_of_a_title_names_the_roles_and_a_user(detail: dict[str, Any], title: str) -> None:
    """Not a session, whose name people choose: the approver would take it for a person."""
    assert message_of(document(**detail)).title == title


@pytest.mark.parametrize(("length", "expected"), [(300, "x" * 300), (301, "x" * 300 + "…")])
def test_message_of_a_long_text_is_shortened(length: int, expected: str) -> None:
    assert dict(message_of(document(reason="x" * length)).lines)["reason"] == expected


def test_slack_of_a_long_message_has_what_slack_accepts() -> None:
    body = json.loads(slack_of(Message("t", tuple((str(n), "x" * 300) for n in range(20)), "")))
    assert len(body["blocks"][0]["text"]["text"]) == 3_000


def test_check_reason_and_ticket_of_the_longest_are_accepted_and_one_more_is_refused() -> None:
    reason, ticket = ("abcd" * 300)[:MAX_REASON], "T" * MAX_TICKET
    check_reason(reason, ReasonRule())
    check_ticket(ticket, None)
    assert (MAX_REASON, MAX_TICKET) == (1_024, 128)
    for longer in (lambda: check_reason(reason + "a", ReasonRule()), lambda: check_ticket(ticket + "T", None)):
        with pytest.raises(LimitExceeded):
            longer()


# --- Who is the same person: by hops, source identities and linked identities


SEEN = FeedPosition("e", 1)
OIDC = "arn:aws:iam::111122223333:oidc-provider/idp.example.com:ann"


def hop(principal_id: str, session_id: str = "", name: str = "x") -> Hop:
    return Hop(session_id, "111122223333", principal_id, 1, SEEN, "AKIA", name)


def test_same_person_through_a_chain_of_roles_is_found() -> None:
    alone = identifiers([hop("AIDA1")])
    chained = identifiers([hop("AIDA1"), hop("AROA1", "a" * 32), hop("AROA2", "b" * 32)])
    assert same_person(alone, chained)


def test_same_role_used_by_two_persons_does_not_make_them_one() -> None:
    one = identifiers([hop("AIDA1"), hop("AROA1", "a" * 32)])
    assert not same_person(one, identifiers([hop("AIDA2"), hop("AROA1", "b" * 32)]))


def test_names_do_not_decide() -> None:
    assert not same_person(identifiers([hop("AIDA1", name="ann")]), identifiers([hop("AIDA2", name="ann")]))


@pytest.mark.parametrize(
    "other",
    [
        OIDC.replace("111122223333", "444455556666"),  # the same issuer, trusted by another account
        OIDC.replace(":ann", ":Ann"),
    ],
)
def test_same_subject_of_one_issuer_is_one_person(other: str) -> None:
    assert identifier(OIDC) == identifier(other)


def test_subject_with_a_line_break_is_one_person_in_every_account() -> None:
    other = OIDC.replace("111122223333", "444455556666")
    assert identifier(f"{OIDC}\n1") == identifier(f"{other}\n1") != identifier(OIDC)


def test_subjects_of_two_issuers_are_two_persons() -> None:
    assert identifier(OIDC) != identifier(OIDC.replace("idp.", "idp2."))


@pytest.mark.parametrize("kind", ["saml-provider/corp", "saml-provider/corp2"])
def test_same_saml_subject_is_one_person_whatever_the_provider_is_called(kind: str) -> None:
    assert identifier(f"arn:aws:iam::111122223333:{kind}:ann@example.com") == "subject:saml-provider:ann@example.com"


def test_source_identity_and_person_tag_link_two_users() -> None:
    assert same_person(identifiers([hop("AIDA1")], "ann"), identifiers([hop("AIDA2")], "ANN"))
    assert same_person(identifiers([hop("AIDA1")], "", ["ann@x.org"]), identifiers([hop("AIDA2")], "", ["Ann@x.org "]))
    assert not same_person(identifiers([hop("AIDA1")], "", [""]), identifiers([hop("AIDA2")], "", [""]))


def test_a_grant_belongs_to_the_first_hop_unless_somebody_else_acts() -> None:
    assert original_principal([hop("AIDA1"), hop("AROA1", "a" * 32)]) == "AIDA1"
    assert original_principal([hop("AIDA1"), hop("AIDA2")]) == ""
    assert original_principal([]) == ""
