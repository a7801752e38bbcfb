"""The risk of a request: deterministic, with reasons, and text of notifications that is never markup."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from daypass.domain.access.message import email_of, message_of, slack_of, teams_of
from daypass.domain.access.risk import FEATURES, RiskFacts, breadth_of, network_of, score

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
