"""Attacks by votes and grants that do not count any more, and what people see of them: rows A334 to A336, and A339."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.attack.test_access_afterwards import revoke
from tests.attack.test_access_whole import NOT_ELIGIBLE
from tests.attack.test_approvals import events, place
from tests.attack.test_federated_approvers import ISSUER, approved
from tests.integration.api.access import APPROVE, Place
from tests.integration.api.conftest import TENANT, server

from daypass.domain.directory import (
    AccessRequest,
    InlinePolicy,
    IssuerAllowList,
    Membership,
)
from daypass.operations.access_requests.follow import sweep
from daypass.ports import Tx

__all__ = ["place", "server"]
TWO = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]


async def leave(place: Place, name: str) -> None:
    """The person is no longer one of the approvers."""
    of = {"group_id": place.groups["leads"].id, "user_id": place.users[name].id}
    await place.change(lambda tx: [tx.delete(each) for each in tx.find(Membership, **of)])


@pytest.mark.parametrize("state", ["pending", "approved"])
async def test_a334_requests_and_grants_of_before_a_revocation_of_their_person_end(place: Place, state: str) -> None:
    request = await place.request()
    if state != "pending":
        await place.approve("lee", request)
    await asyncio.sleep(0.01)
    await revoke(place, "principal", place.users["ann"].arn, block=False)
    shown = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (shown["state"], shown["binding"], len(shown["refused"])) == (state, "", state != "pending")
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    assert (await place.refused("lou", path, body))[0] in (403, 409)
    await place.denied("ann")
    shown = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (shown["state"], shown["end_reason"]) == (("pending", "") if state == "pending" else ("ended", "ineligible"))
    await place.granted()
    await place.assume("ann")


async def test_a334_request_for_a_person_who_was_revoked_cannot_be_accepted(place: Place) -> None:
    await place.rule("prod", on_behalf=True)
    request = await place.request("ann", beneficiary=place.users["eve"].arn)
    await asyncio.sleep(0.01)
    await revoke(place, "principal", place.users["ann"].arn, block=False)
    assert (await place.refused("eve", f"/access-requests/{request['id']}/accept"))[:2] == (403, "AccessDenied")


async def test_a335_vote_that_does_not_count_any_more_completes_no_decision(place: Place) -> None:
    await place.rule("prod", stages=TWO)
    await place.person("lia", APPROVE, "leads")
    request = await place.request()
    await place.approve("lee", request)
    await leave(place, "lee")
    shown = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert [(vote["void"], vote["why"]) for vote in shown["votes"]] == [(True, "the rule no longer names the approver")]
    assert shown["missing"] == {"prod/approval": 2}
    after = await place.approve("lou", request)
    assert (after["state"], after["missing"], after["grants"]) == ("pending", {"prod/approval": 1}, [])
    [*_, event] = await events(place, "access.approved")
    assert event["detail"]["void"] == {place.users["lee"].id: "the rule no longer names the approver"}
    assert (await place.approve("lia", request))["state"] == "approved"
    await place.assume("ann")


@pytest.mark.parametrize("lost", ["membership", "role", "session"])
async def test_a335_grant_that_would_be_refused_is_shown_so_and_offered_to_nobody(place: Place, lost: str) -> None:
    request, query = await place.granted(), {"action": "orders:Get", "resource": "*"}
    await asyncio.sleep(0.01)
    if lost == "membership":
        await leave(place, "lee")
    elif lost == "role":
        role = place.roles["prod"]
        await place.change(lambda tx: tx.replace(replace(role, tags=(("tier", "1"),))))
    else:
        await revoke(place, "principal", place.users["lee"].arn, block=False)
    shown = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    [why] = shown["refused"].values()
    assert shown["state"] == "approved"
    [grant] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert (grant["state"], grant["refused"]) == ("open", why)
    [grant] = shown["grants"]
    assert grant["refused"] == why
    assert (await place.ask("ann", "/own-access", method="GET"))["grants"] == []
    [suggestion] = (await place.ask("ann", "/role-suggestions", method="GET", query=query))["suggestions"]
    assert suggestion["grant_id"] == ""
    assert (await place.request(reuse=True))["reused"] is False
    assert why in await place.denied("ann")
    [ended] = await events(place, "access.ended")
    assert ended["detail"]["why"] == why


async def test_role_moved_to_another_rule_by_its_tags_ends_the_grant(place: Place) -> None:
    """Also when it is moved back: the version of a role has its tags."""
    await place.rule("lax", roles=["role/p*"], role_tags={"tier": "2"})
    role = replace(place.roles["prod"], tags=(("tier", "2"),))
    await place.change(lambda tx: tx.replace(role))
    await place.granted()
    await place.change(lambda tx: tx.replace(replace(role, tags=(("tier", "1"),))))
    assert "have changed since" in await place.denied("ann")
    await place.change(lambda tx: tx.replace(role))
    await place.denied("ann")


async def test_a336_escalation_counts_from_the_acceptance(place: Place) -> None:
    """Ann asks for eve, who waits until the escalation's approvers could decide alone."""
    late = {"after_seconds": 60, "approvers": {"principals": ["user/boss"]}}
    await place.rule("prod", on_behalf=True, escalation=late)
    await place.person("boss", APPROVE)
    request = await place.request("ann", beneficiary=place.users["eve"].arn)

    def earlier(tx: Tx) -> None:
        waiting = tx.get(AccessRequest, id=request["id"])
        assert waiting is not None
        tx.replace(replace(waiting, created_at=waiting.created_at - 61_000))

    await place.change(earlier)
    request = await place.ask("eve", f"/access-requests/{request['id']}/accept")
    await sweep(place.server.runtime.env)
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    assert (await place.refused("boss", path, body))[:2] == (403, "AccessDenied")
    assert await events(place, "access.escalated") == []


@pytest.mark.parametrize("allowed", [(ISSUER,), ()])
async def test_a339_vote_of_a_subject_ends_when_the_operator_takes_its_issuer_off_the_list(
    place: Place, allowed: tuple[str, ...]
) -> None:
    await approved(place)
    await place.server.write(IssuerAllowList(TENANT, allowed, place.now))
    if allowed:
        await place.assume("ann")
    else:
        assert NOT_ELIGIBLE in await place.denied("ann")


async def permissions(place: Place, name: str, document: str) -> None:
    """Gives a person these permissions in the place of others."""

    def change(tx: Tx) -> None:
        [old] = tx.find(InlinePolicy, owner_id=place.users[name].id)
        tx.replace(replace(old, document=document))

    await place.change(change)
