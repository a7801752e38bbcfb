"""Sweeps of open grants: what they check, in which order, and how much at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.api.access import Place
from tests.integration.api.conftest import OPERATOR, TENANT, Server

from daypass.domain.directory import AccessRequest, AccessVote, ApprovalRule, Grant, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import follow as module
from daypass.operations.access_requests.follow import Sweeper
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
