"""Attacks on the decision about access: rows A278 to A287, and A317."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.attack.test_approvals import events, place
from tests.attack.test_approvers import link
from tests.integration.api.access import APPROVE, REQUEST, Place, gated
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, policy, server

from daypass.domain.arn import assumed_role_arn
from daypass.domain.directory import AccessVote, Grant, InlinePolicy, Role
from daypass.ports import Tx

__all__ = ["place", "server"]


async def vault(place: Place) -> Role:
    """A role of another account, for which people of the tenant may ask, and which its own people approve."""
    ids = place.server.runtime.env.ids
    role = Role(ids.unique("AROA"), OPERATOR, "vault", "/", place.now, gated(), max_session_seconds=43_200)
    await place.server.write(role, InlinePolicy(OPERATOR, role.id, "p", policy("orders:*"), place.now))
    rule = {
        "roles": ["role/vault"],
        "requesters": {"principals": [place.users["ann"].arn]},
        "stages": [{"approvers": {"principals": ["group/leads"]}}],
    }
    body = {"document": json.dumps(rule)}
    answer = await place.server.api(ROOT, "PUT", "/approval-rules/prod", {"account": OPERATOR}, body=body)
    assert answer.status == 200
    return role


async def test_a278_substitute_of_another_account_is_refused(place: Place) -> None:
    """Its rule has the name of the request's own, so that the tenant's approvers would count as those of the other account."""
    other = await vault(place)
    await place.role("second")
    await place.rule("prod", roles=["role/prod", "role/second"], substitutes=[other.arn])
    request = await place.request("ann", "prod", "second")
    body = {"binding": request["binding"], "substitutes": {place.roles["second"].arn: other.arn}}
    path = f"/access-requests/{request['id']}"
    status, code, _ = await place.refused("lee", f"{path}/approve", body)
    assert (status, code) == (403, "AccessDenied")
    seen = await place.ask("ann", path, method="GET")
    assert (seen["state"], seen["grants"]) == ("pending", [])


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


@pytest.mark.parametrize("subject", ["session", "access_key"])
async def test_a281_vote_ends_with_the_session_that_cast_it(place: Place, subject: str) -> None:
    lee = place.keys["lee"]
    place.keys["lee"] = stolen = await place.with_mfa("lee")
    await place.granted()
    listed = await place.server.api(ROOT, "GET", "/sessions", {"account": TENANT})
    [session] = [each for each in listed.json["sessions"] if each["access_key_id"] == stolen.id]
    value = session["session_id"] if subject == "session" else stolen.id
    body = {"subject": subject, "value": value, "account": TENANT, "reason": "the session was stolen"}
    made = await place.server.api(ROOT, "POST", "/revocations", body=body)
    assert made.status == 201, made.body
    place.keys["lee"] = lee
    assert "no longer eligible to approve" in await place.denied("ann")
    assert len(await events(place, "access.ended")) == 1


async def test_a283_only_an_approver_of_the_request_substitutes_a_role(place: Place) -> None:
    await place.role("reader")
    await place.person("kim", APPROVE)
    await place.rule("prod", substitutes=["role/reader"])
    await place.rule("reader", roles=["role/reader"], stages=[{"approvers": {"principals": ["user/kim"]}}])
    request = await place.request()
    path = f"/access-requests/{request['id']}"
    body = {"binding": request["binding"], "substitutes": {place.roles["prod"].arn: place.roles["reader"].arn}}
    assert (await place.refused("kim", f"{path}/approve", body))[:2] == (403, "AccessDenied")
    seen = await place.ask("ann", path, method="GET")
    assert (seen["state"], seen["roles"]) == ("pending", [place.roles["prod"].arn])


async def test_a283_two_roles_do_not_become_one(place: Place) -> None:
    await place.role("reader")
    await place.rule("prod", roles=["role/prod", "role/reader"], substitutes=["role/reader"], max_uses=1)
    request = await place.request("ann", "prod", "reader")
    path = f"/access-requests/{request['id']}"
    body = {"binding": request["binding"], "substitutes": {place.roles["prod"].arn: place.roles["reader"].arn}}
    assert (await place.refused("lee", f"{path}/approve", body))[:2] == (400, "ValidationError")
    await place.denied("ann", "reader")


async def test_a284_who_requested_for_somebody_does_not_approve_the_extension(place: Place) -> None:
    await place.rule("prod", on_behalf=True, requesters={"principals": ["group/engineers", "group/leads"]})
    both = json.loads(APPROVE)["Statement"], json.loads(REQUEST)["Statement"]
    statements = [each for part in both for each in (part if isinstance(part, list) else [part])]
    await place.person("kim", json.dumps({"Version": "2012-10-17", "Statement": statements}), "leads")
    request = await place.request("kim", beneficiary=place.users["eve"].arn)
    await place.ask("eve", f"/access-requests/{request['id']}/accept")
    await place.approve("lee", request)
    body = {"seconds": 600, "reason": "the fix takes longer"}
    more = await place.ask("eve", f"/access-requests/{request['id']}/extend", body)
    seen = await place.ask("lee", f"/access-requests/{more['id']}", method="GET")
    answer = await place.refused("kim", f"/access-requests/{more['id']}/approve", {"binding": seen["binding"]})
    assert (answer[0], "own access request" in answer[2]) == (403, True)
    assert (await place.approve("lou", more))["state"] == "ended"


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


@pytest.mark.parametrize("lost", ["trust", "policy", ""])
async def test_a287_vote_by_a_role_ends_when_the_approver_may_not_assume_it_any_more(place: Place, lost: str) -> None:
    trust = gated().replace('"true"', '"false"')
    leading = await place.role("leading", trust, policy("daypass:*"))
    await place.rule("prod", stages=[{"approvers": {"principals": ["role/leading"]}}])
    await place.person("kim", policy("sts:AssumeRole"))
    place.keys["as-lead"] = await place.assume("kim", "leading")
    assert (await place.approve("as-lead", await place.request()))["state"] == "approved"
    others = trust.replace(f"{TENANT}:root", f"{TENANT}:user/lee")

    def change(tx: Tx) -> None:
        if lost == "trust":
            tx.replace(replace(leading, trust_document=others))
        elif lost == "policy":
            [held] = tx.find(InlinePolicy, owner_id=place.users["kim"].id)
            tx.replace(replace(held, document=policy("s3:Get")))

    await place.change(change)
    if lost:
        assert "no longer eligible to approve" in await place.denied("ann")
    else:
        await place.assume("ann")


def of_previous_release(vote: AccessVote) -> AccessVote:
    ballot = {name: each for name, each in json.loads(vote.document).items() if name != "hops"}
    return replace(vote, document=json.dumps(ballot))


@pytest.mark.parametrize("previous", [False, True])
async def test_a317_vote_by_a_role_that_trusts_one_session_of_another_counts(place: Place, previous: bool) -> None:
    """A317: what may end a vote (A287) must not end one by a chain of roles that still holds."""
    await place.person("kim", policy("sts:AssumeRole"))
    everybody = gated().replace('"true"', '"false"')
    deputy = await place.role("deputy", everybody, policy("sts:AssumeRole"))
    session = assumed_role_arn(TENANT, "deputy", "shift")
    leading = await place.role(
        "leading", everybody.replace(f"arn:aws:iam::{TENANT}:root", session), policy("daypass:*")
    )
    trusted = replace(leading, trust_bindings=((session, deputy.id),))
    await place.change(lambda tx: tx.replace(trusted))
    await place.rule("prod", stages=[{"approvers": {"principals": ["role/leading"]}}])
    place.keys["as-deputy"] = await place.assume("kim", "deputy")
    place.keys["as-lead"] = await place.assume("as-deputy", "leading")
    assert (await place.approve("as-lead", await place.request()))["state"] == "approved"
    if previous:  # votes of the previous release do not store the names of sessions
        await place.change(lambda tx: tx.replace(of_previous_release(*tx.find(AccessVote))))
    await place.assume("ann")
    if previous:
        other = replace(trusted, trust_bindings=((session, leading.id),))
    else:
        text = trusted.trust_document.replace(session, f"{session}2")
        other = replace(trusted, trust_document=text, trust_bindings=((f"{session}2", deputy.id),))
    await place.change(lambda tx: tx.replace(other))
    assert "no longer eligible to approve" in await place.denied("ann")
