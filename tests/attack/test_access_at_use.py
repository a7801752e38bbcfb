"""Attacks between the reading, the decision and the use of an access request: rows A288, A289 and A304."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.attack.test_approvals import events, place
from tests.integration.api.access import Place, gated
from tests.integration.api.conftest import TENANT, policy, server

from daypass.domain.directory import ApprovalRule, Grant, InlinePolicy
from daypass.operations.assume import assume
from daypass.ports import Tx

__all__ = ["place", "server"]
READER = [{"approvers": {"principals": ["group/leads"]}}]


def policy_of_reader(place: Place) -> Any:
    def change(tx: Tx) -> None:
        [held] = tx.find(InlinePolicy, owner_id=place.roles["reader"].id)
        tx.replace(replace(held, document=policy("*")))

    return change


def rule_of_reader(place: Place) -> Any:
    def change(tx: Tx) -> None:
        rule = tx.get(ApprovalRule, account=TENANT, name="reader")
        assert rule is not None
        document = rule.document.replace('"threshold": 2', '"threshold": 1')
        tx.replace(replace(rule, document=document, digest="another"))

    return change


@pytest.mark.parametrize("changed", [policy_of_reader, rule_of_reader])
async def test_a288_substitute_that_changed_after_it_was_read_is_refused(place: Place, changed: Any) -> None:
    await place.role("reader")
    await place.role("other")
    await place.rule("prod", substitutes=["role/reader", "role/none"])
    await place.rule("reader", roles=["role/reader"], stages=[{**READER[0], "threshold": 2}])
    request = await place.request()
    path = f"/access-requests/{request['id']}"
    seen = await place.ask("lee", path, method="GET")
    body = {"binding": seen["binding"], "substitutes": {place.roles["prod"].arn: place.roles["reader"].arn}}
    await place.change(changed(place))
    status, code, message = await place.refused("lee", f"{path}/approve", body)
    assert (status, "has changed since you read it" in message) == (409, True), code
    await place.denied("ann", "reader")
    seen = await place.ask("lee", path, method="GET")
    after = await place.ask("lee", f"{path}/approve", {**body, "binding": seen["binding"]})
    assert after["roles"] == [place.roles["reader"].arn]


async def test_a288_vote_without_a_substitute_is_bound_to_the_requested_role_alone(place: Place) -> None:
    """A later change of a role that was not granted ends nothing."""
    await place.role("reader")
    await place.rule("prod", substitutes=["role/reader"])
    await place.rule("reader", roles=["role/reader"], stages=READER)
    await place.granted()
    await place.change(policy_of_reader(place))
    await place.assume("ann")


def later(place: Place, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets time pass, without a sweep."""
    clock: Any = place.server.runtime.clock
    wall, monotonic = clock._wall, clock._monotonic
    monkeypatch.setattr(clock, "_wall", lambda: wall() + int(seconds * 1_000_000_000))
    monkeypatch.setattr(clock, "_monotonic", lambda: monotonic() + seconds)


async def test_a289_draft_is_not_accepted_after_its_deadline(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    always = [{"name": "always", "condition": {"StringEquals": {"aws:username": "eve"}}}]
    await place.rule("prod", on_behalf=True, pending_seconds=300, automatic=always)
    request = await place.request(beneficiary=place.users["eve"].arn)
    later(place, monkeypatch, 300)
    status, _, message = await place.refused("eve", f"/access-requests/{request['id']}/accept")
    assert (status, message) == (409, "The access request has expired.")
    await place.denied("eve")
    assert await events(place, "access.accepted") == []


@pytest.mark.parametrize("action", ["approve", "deny"])
async def test_a289_vote_after_the_deadline_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    await place.rule("prod", pending_seconds=300)
    request = await place.request()
    later(place, monkeypatch, 300)
    body = {"binding": request["binding"], "reason": "too late"}
    status, _, message = await place.refused("lee", f"/access-requests/{request['id']}/{action}", body)
    assert (status, message) == (409, "The access request has expired.")
    await place.denied("ann")


async def test_a289_grant_is_not_claimed_after_its_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.rule("prod", claim_seconds=300)
    request = await place.granted()
    later(place, monkeypatch, 300)
    await place.denied("ann")
    body = {"seconds": 600, "reason": "the fix takes longer"}
    answer = await place.server.api(place.keys["ann"], "POST", f"/access-requests/{request['id']}/extend", body=body)
    if answer.status < 300:
        assert (await approval(place, answer.json))[0] == 409


async def test_a289_grant_whose_time_is_over_is_neither_used_nor_extended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await place.granted(seconds=900)
    await place.assume("ann")
    body = {"seconds": 600, "reason": "the fix takes longer"}
    more = await place.ask("ann", f"/access-requests/{request['id']}/extend", body)
    later(place, monkeypatch, 900)
    assert (await approval(place, more))[0] == 409
    await place.denied("ann")
    [found] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert found["state"] == "ended"


async def approval(place: Place, request: Any) -> tuple[int, str, str]:
    """How an approval is refused."""
    path = f"/access-requests/{request['id']}"
    seen = await place.ask("lou", path, method="GET")
    return await place.refused("lou", f"{path}/approve", {"binding": seen["binding"]})


async def test_a284_use_is_decided_again_when_the_grant_changes_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trust policy allowed the session with facts of the grant that an extension has changed before its record."""
    await place.role("quiet", gated(NumericLessThan={"daypass:RiskScore": "101"}))
    await place.rule("quiet", roles=["role/quiet"])
    await place.approve("lee", await place.request("ann", "quiet"))
    issue, attempts = assume.issue, 0

    async def meanwhile(*given: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await place.change(riskier)
        return await issue(*given)

    def riskier(tx: Tx) -> None:
        [held] = tx.find(Grant, account=TENANT)
        tx.replace(replace(held, risk=101))

    monkeypatch.setattr(assume, "issue", meanwhile)
    await place.denied("ann", "quiet")
    assert (attempts, await events(place, "session.issued")) == (1, [])
