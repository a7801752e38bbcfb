"""Approvers who vote for an absent colleague, and requests made for somebody else: neither is a way around a person."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.attack.test_approvals import events, place
from tests.integration.api.access import APPROVE, Place
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, server

from daypass.domain.directory import AccessKey, KeyStatus, Membership
from daypass.operations.broker.sweep import sweep
from daypass.ports import Tx

__all__ = ["place", "server"]


@pytest.fixture
async def delegated(place: Place) -> Place:
    """The deputy votes for lee and ann while these are absent. Ann is a lead, too."""
    await place.server.write(Membership(TENANT, place.groups["leads"].id, place.users["ann"].id, place.now))
    await place.person("deputy", APPROVE)
    await rule(place)
    return place


async def rule(place: Place, threshold: int = 1) -> None:
    window = {"begin": place.now - 1000, "until": place.now + 3_600_000}
    pairs = (("lee", "deputy"), ("ann", "deputy"))
    delegations = [{"absent": f"user/{absent}", "to": f"user/{to}", **window} for absent, to in pairs]
    stages = [{"approvers": {"principals": ["group/leads"]}, "threshold": threshold}]
    await place.rule("prod", stages=stages, delegations=delegations)


async def test_a270_delegate_of_the_requester_alone_is_refused(delegated: Place) -> None:
    place = delegated

    def leave(tx: Tx) -> None:
        tx.delete(tx.get(Membership, group_id=place.groups["leads"].id, user_id=place.users["lee"].id))

    await place.change(leave)
    request = await place.request("ann")
    path = f"/access-requests/{request['id']}"
    status, code, message = await place.refused("deputy", f"{path}/approve", {"binding": request["binding"]})
    assert (status, code, message) == (403, "AccessDenied", "You are not an approver of this request.")
    [refused] = [each for each in await events(place, "request.denied") if "Approve" in each["operation"]]
    assert refused["actor"]["arn"] == place.users["deputy"].arn
    assert (await place.refused("deputy", path, method="GET"))[0] == 403
    assert (await place.ask("ann", path, method="GET"))["state"] == "pending"


async def test_a271_absent_person_and_delegate_are_one_approval(delegated: Place) -> None:
    place = delegated
    await rule(place, threshold=2)
    request = await place.request("eve")
    assert (await place.approve("deputy", request))["missing"] == {"prod/approval": 1}
    after = await place.approve("lee", request)
    assert (after["state"], after["missing"]) == ("pending", {"prod/approval": 1})
    await place.denied("eve")
    assert (await place.approve("lou", request))["state"] == "approved"
    await place.assume("eve")


@pytest.mark.parametrize("how", ["key", "group"])
async def test_a272_grant_is_void_when_the_absent_person_may_not_approve_any_more(delegated: Place, how: str) -> None:
    place = delegated
    assert (await place.approve("deputy", await place.request("eve")))["state"] == "approved"
    user = place.users["lee"]

    def disable(tx: Tx) -> None:
        if how == "group":
            tx.delete(tx.get(Membership, group_id=place.groups["leads"].id, user_id=user.id))
        for key in tx.find(AccessKey, owner_id=user.id) if how == "key" else ():
            tx.replace(replace(key, status=KeyStatus.INACTIVE))

    await place.change(disable)
    assert "no longer eligible to approve" in await place.denied("eve")


async def test_vote_in_place_of_an_absent_person_counts_at_the_use_though_the_delegate_is_an_approver_elsewhere(
    place: Place,
) -> None:
    """The deputy is an approver of another stage with MFA, which it does not have: it votes in the place of lee alone."""
    for name in ("deputy", "max"):
        await place.person(name, APPROVE)
    with_mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    stages = [
        {"name": "first", "approvers": {"principals": ["user/deputy", "user/max"], "condition": with_mfa}},
        {"name": "second", "approvers": {"principals": ["group/leads"]}},
    ]
    window = {"begin": place.now - 1000, "until": place.now + 3_600_000}
    delegations = [{"absent": "user/lee", "to": "user/deputy", **window}]
    await place.rule("prod", stages=stages, delegations=delegations)
    request = await place.request("eve")
    assert (await place.approve("deputy", request))["missing"] == {"prod/first": 1}
    place.keys["max"] = await place.with_mfa("max")
    assert (await place.approve("max", request))["state"] == "approved"
    await place.assume("eve")


async def test_a273_request_for_somebody_else_is_judged_by_the_risk_and_schedule_of_that_person(place: Place) -> None:
    """Ann is known and on call; eve is neither. A condition with IfExists holds when its key is missing."""

    async def on_call(kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        del kind, source, now, owner
        return frozenset({"ann"})

    place.server.runtime.env.schedules.on_call = on_call  # type: ignore[method-assign]
    condition = {"BoolIfExists": {"daypass:OnCall": "true"}, "NumericLessThanIfExists": {"daypass:RiskScore": "101"}}
    automatic = [{"name": "on call", "condition": condition}]
    await place.rule("prod", on_behalf=True, on_call={"calendar": "ops.ics"}, automatic=automatic)
    for requester, beneficiary, state in (("ann", "eve", "pending"), ("eve", "ann", "approved")):
        request = await place.request(requester, beneficiary=place.users[beneficiary].arn)
        accepted = await place.ask(beneficiary, f"/access-requests/{request['id']}/accept")
        assert accepted["state"] == state
    await place.denied("eve")
    await place.assume("ann")


@pytest.mark.parametrize("subject", ["principal", "access_key"])
async def test_a274_approval_of_an_approver_who_was_blocked_since_does_not_count(place: Place, subject: str) -> None:
    request = await place.granted()
    await place.assume("ann")
    lee = place.users["lee"].arn if subject == "principal" else place.keys["lee"].id
    body = {"subject": subject, "value": lee, "account": TENANT, "block": True, "reason": "the key was stolen"}
    assert (await place.server.api(ROOT, "POST", "/revocations", body=body)).status == 201
    await sweep(place.server.runtime.env)
    [ended] = await events(place, "access.ended")
    assert (ended["detail"]["request"], ended["detail"]["reason"]) == (request["id"], "ineligible")
    await place.denied("ann")


async def test_a274_block_by_another_account_ends_nothing(place: Place) -> None:
    await place.granted()
    body = {"subject": "principal", "value": place.users["lee"].id, "account": OPERATOR, "block": True, "force": True}
    answer = await place.server.api(ROOT, "POST", "/revocations", body=body)
    assert answer.status in (201, 403, 404), answer.body
    await place.assume("ann")
