"""Approval rules: what is refused at write, whom a rule includes, and the limits of a request."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest

from daypass.domain.access import rule as rule_module
from daypass.domain.access.rule import (
    CompiledPeople,
    LimitExceeded,
    People,
    ReasonRule,
    RuleError,
    TicketRule,
    Window,
    check_mfa_age,
    check_reason,
    check_ticket,
    check_windows,
    condition_holds,
    duration,
    in_windows,
    read_rule,
)

ACCOUNT = "111122223333"
RULE: dict[str, Any] = {
    "roles": ["role/prod/*"],
    "requesters": {"principals": ["group/engineers"]},
    "stages": [{"approvers": {"principals": ["group/leads"]}}],
}


def rule(**changes: Any) -> Any:
    return read_rule(ACCOUNT, "prod", json.dumps({**RULE, **changes}))


def test_read_rule_fraction_in_a_condition_is_compared_as_a_number() -> None:
    condition = {"NumericLessThan": {"shop:total": 1.5}}
    compiled = rule(requesters={"principals": ["*"], "condition": condition}).requesters
    assert compiled.include([f"arn:aws:iam::{ACCOUNT}:user/ann"], {"shop:total": "1.4"})
    assert not compiled.include([f"arn:aws:iam::{ACCOUNT}:user/ann"], {"shop:total": "1.5"})


def test_rule_covers_roles_by_pattern_and_tags() -> None:
    assert rule().covers(f"arn:aws:iam::{ACCOUNT}:role/prod/db", {})
    assert not rule().covers("arn:aws:iam::444455556666:role/prod/db", {})
    tagged = rule(role_tags={"tier": "1"})
    assert tagged.covers(f"arn:aws:iam::{ACCOUNT}:role/prod/db", {"tier": "1"})
    assert not tagged.covers(f"arn:aws:iam::{ACCOUNT}:role/prod/db", {"tier": "2"})


def test_rule_that_names_a_role_is_more_specific_than_any_pattern() -> None:
    assert rule(roles=["role/a"]).specificity > rule(roles=["role/prod/databases/primary/*"]).specificity


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aprovers": []}, "unknown field"),
        ({"roles": []}, "length"),
        ({"roles": ["prod"]}, "neither an ARN nor"),
        ({"stages": []}, "grants nothing"),
        ({"chat": {}, "stages": [{**RULE["stages"][0], "mfa_seconds": 300}]}, "a chat proves no MFA"),
        ({"chat": {}, "stages": [{**RULE["stages"][0], "step_up": True}]}, "a chat proves no MFA"),
        ({"stages": [RULE["stages"][0], RULE["stages"][0]]}, "same name"),
        ({"stages": [{**RULE["stages"][0], "threshold": 0}]}, ">= 1"),
        ({"max_seconds": 60, "default_seconds": 120}, "over max_seconds"),
        ({"max_seconds": True}, "int"),
        ({"requesters": {"principals": ["*"], "condition": {"Odd": {"a": "b"}}}}, "Syntax errors in policy"),
        ({"automatic": [{"name": "x", "condition": {"Bool": {"a": [{}]}}}]}, "not valid"),
        ({"windows": [{"begin": "9:00"}]}, "HH:MM"),
        ({"windows": [{"begin": "18:00", "until": "09:00"}]}, "begin before until"),
        ({"windows": [{"days": ["someday"]}]}, "someday"),
    ],
)
def test_invalid_rule_is_refused_with_the_fault(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        rule(**changes)


def test_rule_with_a_duplicate_member_is_refused() -> None:
    with pytest.raises(RuleError, match="twice"):
        read_rule(ACCOUNT, "prod", '{"roles":["role/a"],"roles":["role/b"]}')


def test_digest_is_of_the_content_not_of_the_spelling() -> None:
    spaced = read_rule(ACCOUNT, "prod", json.dumps(RULE, indent=4))
    assert spaced.digest == rule().digest != rule(max_seconds=600).digest


def test_people_are_included_by_any_of_their_arns_and_the_condition() -> None:
    condition = {"NumericLessThan": {"daypass:RiskScore": "50"}}
    people = CompiledPeople(People(("group/leads",), condition), ACCOUNT)
    names = [f"arn:aws:iam::{ACCOUNT}:user/ann", f"arn:aws:iam::{ACCOUNT}:group/leads"]
    assert people.include(names, {"daypass:riskscore": "10"})
    assert not people.include(names, {"daypass:riskscore": "90"})
    assert people.include(names, None)
    assert not people.include(names[:1], {"daypass:riskscore": "10"})
    assert condition_holds(None, {})


@pytest.mark.parametrize(
    "text", ["", ".", "........", "aaaaaaaaaa", "fix\nlines and more", "x\u202etxet desrever", "ok"]
)
def test_reason_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(LimitExceeded):
        check_reason(text, ReasonRule())


def test_reason_must_match_a_pattern_if_there_are_any() -> None:
    check_reason("Incident 42: database is full", ReasonRule(("incident *: *",)))
    with pytest.raises(LimitExceeded, match="must match"):
        check_reason("the database is full", ReasonRule(("incident *: *",)))


def test_ticket_is_required_and_has_the_form() -> None:
    wanted = TicketRule(patterns=("INC-????",))
    check_ticket("INC-1234", wanted)
    check_ticket("", TicketRule(required=False))
    check_ticket("", None)
    check_ticket("", wanted, emergency=True)
    with pytest.raises(LimitExceeded):
        check_ticket("INC-12345", wanted, emergency=True)
    for bad in ("", "INC-12345", "inc-1234", "INC-1\n34"):
        with pytest.raises(LimitExceeded):
            check_ticket(bad, wanted)


def test_duration_is_within_every_rule() -> None:
    rules = [rule(max_seconds=3600).rule, rule(max_seconds=1800, default_seconds=900).rule]
    assert duration(None, rules) == 900
    assert duration(1800, rules) == 1800
    with pytest.raises(LimitExceeded, match="1800"):
        duration(1801, rules)


def test_windows_are_in_local_time() -> None:
    def local(zone: str) -> datetime:
        if zone != "UTC":
            raise ValueError(zone)
        return datetime(2026, 11, 26, 8, 59)  # noqa: DTZ001  # local already; a Thursday

    early = Window(("thu",), "08:00", "09:00")
    assert in_windows([early], local)
    assert not in_windows([Window(("thu",), "09:00", "10:00")], local)
    assert not in_windows([Window(("fri",))], local)
    assert not in_windows([Window(zone="Mars/Base")], local)
    check_windows((), local)
    with pytest.raises(LimitExceeded, match="09:00-10:00"):
        check_windows([Window(("thu",), "09:00", "10:00")], local)


def test_mfa_must_be_recent() -> None:
    check_mfa_age(0, None, 10_000)
    check_mfa_age(5_000, 10, 15_000)
    for mfa_at in (0, 4_999):
        with pytest.raises(LimitExceeded):
            check_mfa_age(mfa_at, 10, 15_000)


def test_reason_of_letters_that_show_nothing_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="say something"):
        check_reason("\u3164\u115f\u1160\uffa0" * 8, ReasonRule())
    check_reason("장애: 주문을 쓸 수 없습니다", ReasonRule())


def test_every_part_of_a_rule_is_frozen_and_refuses_unknown_members() -> None:
    parts = [part for part in vars(rule_module).values() if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    own = [part for part in parts if part.__module__ == rule_module.__name__]
    assert len(own) > 10
    lax = [p for p in own if not (p.__struct_config__.frozen and p.__struct_config__.forbid_unknown_fields)]
    assert lax == []
