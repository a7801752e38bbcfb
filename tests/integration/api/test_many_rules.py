"""An account with as many and as large approval rules as it may have (attack A263)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.api.access import Place
from tests.integration.api.conftest import TENANT, TENANT_ROOT, Server

from daypass.domain.access.rule import MAX_RULE, MAX_WILDCARDS, read_rule
from daypass.domain.directory import ApprovalRule
from daypass.operations.access_requests.rules import MAX_RULES
from daypass.operations.grants import targets
from daypass.ports import Tx


def document(role: str, *persons: str) -> str:
    rule = {"roles": [role], "requesters": {"principals": persons}, "stages": [{"approvers": {"principals": ["*"]}}]}
    return json.dumps(rule)


def largest(role: str) -> str:
    """A rule of the greatest length, with persons who do not exist."""
    persons = [f"user/{number:02}{'x' * 300}" for number in range(50)]
    return document(role, *persons).ljust(MAX_RULE)


async def with_rules(place: Place, count: int, text: str) -> None:
    def add(tx: Tx) -> None:
        digest = read_rule(TENANT, "any", text).digest
        for number in range(count):
            tx.insert(ApprovalRule(TENANT, f"more-{number:03}", text, digest, 1, 1, "arn:aws:iam::1:root"))

    await place.change(add)


async def test_a263_all_rules_of_an_account_are_compiled_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(server)
    await place.fill()
    await with_rules(place, MAX_RULES - 1, largest("role/other"))
    compiled: list[str] = []

    def counted(account: str, name: str, text: str) -> Any:
        compiled.append(name)
        return read_rule(account, name, text)

    monkeypatch.setattr(targets, "read_rule", counted)
    directory = server.runtime.env.directory
    for _ in range(3):
        found = await directory.read(lambda tx: targets.rules_of(tx, TENANT), account=TENANT)
        assert len(found) == MAX_RULES
    assert len(compiled) == len(set(compiled)) <= MAX_RULES


@pytest.mark.parametrize("wildcard", ["*", "?", "\\u002a"])
async def test_a263_rule_of_too_many_wildcards_is_refused_when_it_is_written(server: Server, wildcard: str) -> None:
    place = Place(server)
    await place.fill()
    few = MAX_WILDCARDS // 10
    for each, status in ((9, 200), (11, 400)):
        text = document("role/prod", *(f"user/{number}" + "a@" * each for number in range(few))).replace("@", wildcard)
        answer = await server.api(TENANT_ROOT, "PUT", "/approval-rules/wild", body={"document": text})
        assert answer.status == status, answer.body
    assert b"at most 500 wildcards" in answer.body
