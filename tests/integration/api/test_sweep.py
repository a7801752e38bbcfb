"""Sweeps of open grants, and an account with as many and as large approval rules as it may have (attack A263)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.api.access import Place
from tests.integration.api.conftest import OPERATOR, TENANT, TENANT_ROOT, Server

from daypass.domain.access.rule import MAX_RULE, MAX_WILDCARDS, read_rule
from daypass.domain.directory import AccessRequest, AccessVote, ApprovalRule, Grant, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import follow as module
from daypass.operations.access_requests.follow import Sweeper
from daypass.operations.access_requests.rules import MAX_RULES
from daypass.operations.grants import targets
from daypass.ports import Tx

GRANTS = 12


@pytest.fixture
async def place(server: Server) -> Place:
    made = Place(server)
    await made.fill()
    await made.granted()
    await made.assume("ann")
    await made.change(lambda tx: copy(made, tx, GRANTS - 1))
    return made


def copy(place: Place, tx: Tx, count: int) -> None:
    """Further grants like the first one, each of a request of its own."""
    ids = place.server.runtime.env.ids
    [grant] = tx.find(Grant, account=TENANT)
    request, [vote] = tx.get(AccessRequest, id=grant.request_id), tx.find(AccessVote, request_id=grant.request_id)
    assert request is not None
    for _ in range(count):
        new = ids.session()
        tx.insert(replace(request, id=new, client_token=new))
        tx.insert(replace(vote, request_id=new))
        tx.insert(replace(grant, id=ids.session(), request_id=new))


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The grants that are checked."""
    seen: list[str] = []
    check = module.why_void

    def counting(env: Any, tx: Any, grant: Grant, *more: Any) -> Any:
        seen.append(grant.id)
        return check(env, tx, grant, *more)

    with monkeypatch.context() as patched:
        patched.setattr(module, "why_void", counting)
        yield seen


async def caught_up(place: Place) -> Sweeper:
    sweeper = Sweeper(place.server.runtime.env)
    await place.server.runtime.directory.refresh()
    await sweeper.sweep()
    while sweeper.behind:
        await sweeper.sweep()
    return sweeper


async def test_sweep_checks_no_more_than_its_budget_and_goes_on_in_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECKED_AT_ONCE", 2)
    monkeypatch.setattr(module, "_CHECKS", 6)
    sweeper = Sweeper(place.server.runtime.env)
    with counted(monkeypatch) as first:
        assert (await sweeper.sweep()).open == GRANTS
    assert len(first) == 6
    assert sweeper.behind
    with counted(monkeypatch) as rest:
        while sweeper.behind:
            await sweeper.sweep()
    assert len(set(first) | set(rest)) == GRANTS


async def test_change_in_another_account_makes_no_grant_be_checked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = await caught_up(place)
    rule = ApprovalRule(OPERATOR, "other", "{}", "0", place.now, place.now, "x")
    await place.change(lambda tx: tx.insert(rule))
    with counted(monkeypatch) as checked:
        await sweeper.sweep()
    assert checked == []


async def test_change_of_the_role_ends_all_its_grants_in_one_sweep(place: Place) -> None:
    sweeper = await caught_up(place)
    await place.change(lambda tx: tx.replace(replace(place.roles["prod"], max_session_seconds=7200)))
    swept = await sweeper.sweep()
    assert (swept.ended, swept.open) == (GRANTS, 0)


async def test_grant_whose_time_is_over_ends_though_its_turn_is_far(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECKED_AT_ONCE", 1)
    sweeper = await caught_up(place)

    def late(tx: Tx) -> None:
        unclaimed, claimed = tx.find(Grant, account=TENANT, ended_at=0, order="id")[-2:]
        tx.replace(replace(unclaimed, claimed_at=0, ends_at=0, claim_by=place.now - 1))
        tx.replace(replace(claimed, claimed_at=place.now - 60_000, ends_at=place.now - 1))

    await place.change(late)
    assert (await sweeper.sweep()).ended == 2


async def test_sweep_that_fails_forgets_no_change(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeper = await caught_up(place)
    await place.change(lambda tx: tx.replace(replace(place.roles["prod"], max_session_seconds=7200)))
    directory = type(place.server.runtime.env.directory)
    for method in ("changed_accounts", "read"):
        with monkeypatch.context() as broken:

            async def unavailable(*_: Any, **__: Any) -> None:
                raise DaypassError(ErrorKind.UNAVAILABLE, "The database is unavailable.")

            broken.setattr(directory, method, unavailable)
            with pytest.raises(DaypassError):
                await sweeper.sweep()
    assert (await sweeper.sweep()).ended == GRANTS


async def test_sweep_after_the_feed_was_pruned_checks_every_grant(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = await caught_up(place)
    env = place.server.runtime.env

    async def unknown(*_: Any, **__: Any) -> None:
        return None

    with monkeypatch.context() as pruned:
        pruned.setattr(type(env.directory), "changed_accounts", unknown)
        user = User(env.ids.unique("AIDA"), OPERATOR, "other", "/", place.now)
        await place.change(lambda tx: tx.insert(user))
        with counted(monkeypatch) as checked:
            await sweeper.sweep()
    assert set(checked) >= {grant.id for grant in await open_grants(place)}


async def open_grants(place: Place) -> list[Grant]:
    return await place.server.runtime.env.directory.read(lambda tx: tx.find(Grant, ended_at=0), account="")


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
