"""Votes and grants that do not count any more, and what people see of them (rows A334 to A336, and A339); and random
histories of requests against an independent oracle (A211, A213, A214, A254 and A262).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.attack.access_cast import FIRST_KEYS
from tests.attack.access_driver import Driver
from tests.attack.installation import installed
from tests.attack.test_approvers import ISSUER, NOT_ELIGIBLE, approved, link
from tests.integration.api.access import APPROVE, REQUEST, Place, gated, place
from tests.integration.api.conftest import TENANT, policy, server

from daypass.domain.directory import AccessRequest, Grant, InlinePolicy, IssuerAllowList, Membership, Role
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
    await place.revoke("principal", place.users["ann"].arn)
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
    await place.revoke("principal", place.users["ann"].arn)
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
    [*_, event] = await place.events("access.approved")
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
        await place.revoke("principal", place.users["lee"].arn)
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
    [ended] = await place.events("access.ended")
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
    assert await place.events("access.escalated") == []


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


# --- The decision about access: rows A279, A280, A285 and A286


def schedules(place: Place, **people: str) -> None:
    """Each calendar file names one person."""

    async def on_call(kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        del kind, now, owner
        return frozenset({people[source.partition(".")[0]]})

    place.server.runtime.env.schedules.on_call = on_call  # type: ignore[method-assign]


ON_CALL = {"Bool": {"daypass:OnCall": "true"}}


async def test_a279_who_is_on_call_for_one_role_is_not_for_another(place: Place) -> None:
    schedules(place, prod="eve", web="ann")
    await place.role("web")
    automatic = [{"name": "on call", "condition": ON_CALL}]
    for name in ("prod", "web"):
        await place.rule(name, roles=[f"role/{name}"], on_call={"calendar": f"{name}.ics"}, automatic=automatic)
    request = await place.request("ann", "prod", "web")
    assert (request["state"], request["grants"]) == ("pending", [])
    await place.denied("ann")
    assert (await place.request("ann", "web"))["state"] == "approved"


async def test_a279_schedule_of_a_rule_that_does_not_apply_puts_nobody_on_call(place: Place) -> None:
    schedules(place, prod="eve", web="ann")
    condition = {"principals": ["group/engineers"], "condition": ON_CALL}
    await place.rule("prod", on_call={"calendar": "prod.ics"}, automatic=[{"name": "x", "condition": ON_CALL}])
    await place.rule("general", roles=["role/*"], on_call={"calendar": "web.ics"}, requesters=condition)
    assert (await place.request("ann"))["state"] == "pending"
    await place.denied("ann")


async def test_a279_grant_says_on_call_for_the_role_alone_whose_schedule_names_the_person(place: Place) -> None:
    schedules(place, prod="eve", web="ann")
    await place.role("web")
    always = [{"name": "always", "condition": {"StringEquals": {"aws:username": "ann"}}}]
    for name in ("prod", "web"):
        await place.rule(name, roles=[f"role/{name}"], on_call={"calendar": f"{name}.ics"}, automatic=always)
    await place.request("ann", "prod", "web")
    found = await place.server.runtime.directory.read(lambda tx: tx.find(Grant, account=TENANT), account="")
    on_call = {grant.role_arn: grant.on_call for grant in found}
    assert on_call == {place.roles["prod"].arn: False, place.roles["web"].arn: True}


async def test_a280_chain_does_not_hide_who_the_person_is(place: Place) -> None:
    """The link is a tag of the first session, as of one from an identity provider, that is not transitive."""
    trust = gated().replace('"true"', '"false"').replace('"sts:AssumeRole",', '"sts:AssumeRole", "sts:TagSession",')
    for name in ("first", "leading"):
        await place.role(name, trust, policy("daypass:*", "sts:*"))
    await place.rule("prod", stages=[{"approvers": {"principals": ["role/leading"]}}])
    await place.person("ann-two", policy("sts:*"))
    await link(place, "ann")
    request = await place.request("ann")
    tag = {"Tags.member.1.Key": "daypass:person", "Tags.member.1.Value": "ann@example.com"}
    first = await place.server.assume(place.keys["ann-two"], place.roles["first"].arn, **tag)
    place.keys["two"] = await place.server.assume(first, place.roles["leading"].arn)
    body = {"binding": request["binding"]}
    status, code, message = await place.refused("two", f"/access-requests/{request['id']}/approve", body)
    assert (status, code, "own access request" in message) == (403, "AccessDenied", True)
    [refused] = [each for each in await place.events("request.denied") if "Approve" in each["operation"]]
    assert refused["actor"]["arn"].endswith(":assumed-role/leading/shift")
    await place.denied("ann")


async def test_a285_who_approves_another_role_of_the_request_does_not_count_for_this_one(place: Place) -> None:
    two = gated(NumericGreaterThanEquals={"daypass:ApproverCount": "2"})
    await place.role("strict", two)
    await place.role("web")
    await place.person("kim", APPROVE)
    await place.rule("strict", roles=["role/strict"])
    await place.rule("web", roles=["role/web"], stages=[{"approvers": {"principals": ["user/kim"]}}])
    request = await place.request("ann", "strict", "web")
    for name in ("lee", "kim"):
        request = await place.approve(name, request)
    assert request["state"] == "approved"
    await place.denied("ann", "strict")
    await place.assume("ann", "web")
    await place.rule(
        "strict", roles=["role/strict"], stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    )
    request = await place.request("ann", "strict")
    for name in ("lee", "lou"):
        await place.approve(name, request)
    await place.assume("ann", "strict")


async def test_a286_of_two_rules_for_the_same_roles_the_one_with_more_tags_applies(place: Place) -> None:
    role = replace(place.roles["prod"], tags=(("env", "prod"),))
    await place.change(lambda tx: tx.replace(role))
    strict = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    await place.rule("prod", roles=["role/*"])
    await place.rule("a-strict", roles=["role/*"], role_tags={"env": "prod"}, stages=strict)
    assert (await place.request("ann"))["missing"] == {"a-strict/approval": 2}


# --- Grants by roles that their persons have lost, and one approval for several roles: rows A378 and A379


OPEN = gated().replace('"true"', '"false"')


async def in_a_shift(place: Place) -> Role:
    """Kim, who may request by the role of a shift alone, has access that was requested in a session of that role."""
    shift = await place.role("shift", OPEN, REQUEST)
    await place.person("kim", policy("sts:AssumeRole"), "engineers")
    place.keys["shift"] = await place.assume("kim", "shift")
    await place.approve("lee", await place.request("shift"))
    return shift


async def for_two_roles(place: Place) -> None:
    """Access of ann to two roles with a rule each, which took the approvals of two persons."""
    await place.role("web")
    await place.rule("web", roles=["role/web"])
    request = await place.request("ann", "prod", "web")
    assert (await place.approve("lee", request))["state"] == "pending"
    assert (await place.approve("lou", request))["state"] == "approved"


async def test_a378_grant_that_was_requested_by_a_role_is_used_by_who_may_still_request(place: Place) -> None:
    """The person's own key has no permission to request; a session of the role, while it lasts, has."""
    await in_a_shift(place)
    assert "no longer permitted to request" in await place.denied("kim")
    await permissions(place, "kim", REQUEST)
    await place.assume("kim")


async def test_a379_approver_of_one_role_does_not_stand_in_for_a_revoked_one_of_the_other(place: Place) -> None:
    """Both may approve both roles: each has filled the place of one of them."""
    await for_two_roles(place)
    await asyncio.sleep(0.01)
    await place.revoke("principal", place.users["lee"].arn)
    answers = [
        await place.server.sts(place.keys["ann"], "AssumeRole", RoleArn=place.roles[name].arn, RoleSessionName="shift")
        for name in ("prod", "web")
    ]
    assert sorted(answer.tag.rpartition("}")[2] for answer in answers) == ["AssumeRoleResponse", "ErrorResponse"]


async def test_a379_role_that_changed_leaves_the_access_to_the_other(place: Place) -> None:
    await for_two_roles(place)
    await place.change(lambda tx: tx.replace(replace(place.roles["web"], tags=(("tier", "1"),))))
    await place.denied("ann", "web")
    await place.assume("ann")


def drive(data: Path, seeds: range, steps: int) -> None:
    with installed(data, first_keys=FIRST_KEYS, access={"sweep_seconds": 300}) as installation:
        for seed in seeds:
            installation.run(Driver(installation, seed).run(steps))


def test_random_histories_of_access_requests_agree_with_the_oracle(tmp_path: Path) -> None:
    drive(tmp_path, range(101, 102), 120)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seeds", [range(102, 103), *(range(first, first + 10) for first in range(110, 150, 10))], ids=lambda seeds: seeds[0]
)
def test_random_histories_of_access_requests_agree_with_the_oracle_over_many_histories(
    tmp_path: Path, seeds: range
) -> None:
    drive(tmp_path, seeds, 120)
