"""Attacks on the decision about access: rows A279, A280, A285 and A286."""

from __future__ import annotations

from dataclasses import replace

from tests.attack.test_approvals import events, place
from tests.attack.test_approvers import link
from tests.integration.api.access import APPROVE, Place, gated
from tests.integration.api.conftest import TENANT, policy, server

from daypass.domain.directory import Grant

__all__ = ["place", "server"]


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
    [refused] = [each for each in await events(place, "request.denied") if "Approve" in each["operation"]]
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
