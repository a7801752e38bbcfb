"""Approvals under attack: by the requester, by what has changed since, by repetition; and grants of what nobody
approved: another rule or a newer one (A211), automatic approval of what the requester chooses (A212), sessions made
from granted ones (A213).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from tests.integration.api.access import APPROVE, Place, gated, own_place
from tests.integration.api.conftest import UNTOUCHED, Answer, Server, policy, shared

from daypass.domain.directory import AccessKey, AccessRequest, InlinePolicy, KeyStatus, Membership
from daypass.domain.events import Event, EventType
from daypass.operations.access_requests.follow import sweep
from daypass.ports import Tx

__all__ = ["shared"]


pytestmark = UNTOUCHED


@pytest_asyncio.fixture(loop_scope="module")
async def place(shared: Server) -> Place:
    return await own_place(shared)


async def test_a121_requester_cannot_approve_through_a_chain_another_key_or_a_linked_user(place: Place) -> None:
    """Ann is a lead too, and has a role of leads, a second key and a second user."""
    server = place.server
    ids, now = server.runtime.env.ids, place.now
    await server.write(Membership(place.account, place.groups["leads"].id, place.users["ann"].id, now))
    await place.role("leading", gated(place.account).replace('"true"', '"false"'), APPROVE)
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads", "role/leading"]}}])
    approver = replace(place.users["ann"], tags=(("daypass:person", "ann@example.com"),))
    await place.change(lambda tx: tx.replace(approver))
    await place.person("ann2", APPROVE, "leads")
    twin = replace(place.users["ann2"], tags=(("Daypass:Person", "Ann@Example.com"),))
    await place.change(lambda tx: tx.replace(twin))
    secret = ids.secret()
    key = ids.access_key("AKIA")
    sealed = server.runtime.env.sealer.seal_secret(secret.encode(), place.account, place.users["ann"].id)
    await server.write(AccessKey(key, place.account, place.users["ann"].id, KeyStatus.ACTIVE, sealed, now, now))
    place.keys["ann-key"] = type(place.keys["ann"])(key, secret)
    await place.person("permitted", APPROVE)
    request = await place.request("ann")
    place.keys["ann-role"] = await place.assume("ann", "leading")
    await server.write(*(_allow(place, name) for name in ("ann",)))
    binding = request["binding"]
    for who in ("ann", "ann-key", "ann-role", "ann2"):
        status, code, message = await place.refused(
            who, f"/access-requests/{request['id']}/approve", {"binding": binding}
        )
        assert (status, code) == (403, "AccessDenied")
        assert "own access request" in message
    refusals = [
        event for event in await place.events("request.denied") if event["operation"].endswith("ApproveAccessRequest")
    ]
    assert len(refusals) == 4
    mine = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (mine["state"], mine["votes"]) == ("pending", [])


def _allow(place: Place, name: str) -> Any:
    return InlinePolicy(place.account, place.users[name].id, "approve", APPROVE, place.now)


async def test_a120_vote_on_what_was_read_before_a_change_is_refused(place: Place) -> None:
    request = await place.request()
    seen = await place.ask("lee", f"/access-requests/{request['id']}", method="GET")
    await place.change(lambda tx: tx.replace(replace(place.roles["prod"], description="x", tags=(("a", "b"),))))
    status, code, _ = await place.refused(
        "lee", f"/access-requests/{request['id']}/approve", {"binding": seen["binding"]}
    )
    assert (status, code) == (409, "ConcurrentModification")


async def test_a120_first_approval_is_void_after_a_change_of_the_role(place: Place) -> None:
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    request = await place.request()
    await place.approve("lee", request)
    await place.change(lambda tx: tx.replace(replace(place.roles["prod"], max_session_seconds=7200)))
    after = await place.approve("lou", request)
    assert (after["state"], after["missing"]) == ("pending", {"prod/approval": 1})
    assert [vote["void"] for vote in sorted(after["votes"], key=lambda v: v["at"])] == [True, False]
    assert (await place.approve("lee", request))["state"] == "approved"


@pytest.mark.parametrize("changed", ["role", "rule", "deleted rule"])
async def test_a120_grant_is_void_when_role_or_rule_change_before_its_use(place: Place, changed: str) -> None:
    request = await place.granted()
    if changed == "role":
        await place.change(lambda tx: tx.replace(replace(place.roles["prod"], max_session_seconds=7200)))
    elif changed == "rule":
        await place.rule("prod", max_seconds=7200)
    else:
        answer = await place.operator("DELETE", "/approval-rules/prod")
        assert answer.status == 204
    message = await place.denied("ann")
    assert "access grant" in message
    [ended] = await place.events("access.ended")
    assert ended["detail"]["reason"] == "policy_changed"
    answer = await place.operator("GET", f"/access-requests/{request['id']}")
    assert (answer.json["state"], answer.json["grants"][0]["state"]) == ("ended", "ended")


@pytest.mark.parametrize("how", ["deleted", "key", "group"])
async def test_a85_approver_disabled_before_use_voids_the_grant(place: Place, how: str) -> None:
    await place.granted()
    user = place.users["lee"]

    def disable(tx: Tx) -> None:
        if how == "deleted":
            tx.delete(user)
        elif how == "group":
            tx.delete(tx.get(Membership, group_id=place.groups["leads"].id, user_id=user.id))
        else:
            for key in tx.find(AccessKey, owner_id=user.id):
                tx.replace(replace(key, status=KeyStatus.INACTIVE))

    await place.change(disable)
    assert "An approval does not count any more" in await place.denied("ann")
    [ended] = await place.events("access.ended")
    assert ended["detail"]["reason"] == "ineligible"


async def test_a84_hundred_parallel_redemptions_of_a_one_time_grant_give_one_session(place: Place) -> None:
    await place.granted(max_uses=1)
    answers = await asyncio.gather(*(redeemed(place, f"shift{number}") for number in range(100)))
    assert sorted(answers) == [*["AccessDenied"] * 99, "AssumeRoleResponse"]
    assert len(await place.events("session.issued")) == 1


async def redeemed(place: Place, name: str) -> str:
    """The response or the error code of an AssumeRole, sent again after a 503, as AWS SDKs do."""
    for _ in range(10):
        answer = await place.server.sts(
            place.keys["ann"], "AssumeRole", RoleArn=place.roles["prod"].arn, RoleSessionName=name
        )
        code = answer.findtext(".//Code") or answer.tag
        if code != "ServiceUnavailable":
            break
    return code


async def test_a84_client_token_of_another_person_gives_its_own_request(place: Place) -> None:
    first = await place.request("ann", client_token="alert-1")
    second = await place.request("eve", client_token="alert-1")
    assert first["id"] != second["id"]
    status, _, _ = await place.refused("eve", f"/access-requests/{first['id']}", method="GET")
    assert status == 403


async def test_reason_and_ticket_with_control_characters_are_refused(place: Place) -> None:
    for member, text in (
        ("reason", "x\u202egnihton ton si siht"),
        ("reason", "a\x1b[31mb fix the orders"),
        ("ticket", "INC\n1"),
    ):
        status, code, _ = await place.refused("ann", "/access-requests", {**place.wanted(), member: text})
        assert (status, code) == (400, "ValidationError")


@pytest.mark.parametrize("how", ["permission removed", "denied"])
async def test_a85_approver_without_the_permission_at_use_voids_the_grant(place: Place, how: str) -> None:
    request = await place.granted()
    lee = place.users["lee"]
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"daypass:Approve*","Resource":"*"}]}'
    if how == "denied":
        await place.server.write(InlinePolicy(place.account, lee.id, "deny", text, place.now))
    else:
        await place.change(lambda tx: [tx.delete(each) for each in tx.find(InlinePolicy, owner_id=lee.id)])
    assert "cannot be used: An approval does not count any more" in await place.denied("ann")
    (ended,) = await place.events("access.ended")
    assert (ended["detail"]["request"], ended["detail"]["reason"]) == (request["id"], "ineligible")


# --- Extensions beyond what was approved (row A206), and another rule than the one whose conditions the requester met (A209)


NARROW = policy("orders:Get")
MORE = {"seconds": 600, "reason": "the fix takes longer"}
IS_ANN = {"StringEquals": {"aws:username": "ann"}}
FOR_MFA = {"principals": ["group/engineers"], "condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}


async def extended(place: Place, request: Any) -> Any:
    return await place.ask("ann", f"/access-requests/{request['id']}/extend", MORE)


async def test_a206_extension_is_a_request_of_its_own_as_short_and_narrow_as_its_approver_says(place: Place) -> None:
    request = await place.granted(seconds=900)
    await place.assume("ann")
    [before] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    extension = await extended(place, request)
    assert (extension["state"], extension["extends"], extension["roles"]) == (
        "pending",
        request["id"],
        request["roles"],
    )
    approved = await place.approve("lee", extension, seconds=60, policy=NARROW)
    [made] = approved["grants"]
    assert (made["seconds"], made["policies"], made["starts_at"]) == (60, [NARROW], before["ends_at"])
    [_, after] = sorted((await place.ask("ann", "/grants", method="GET"))["grants"], key=lambda each: -each["claim_by"])
    assert after == before
    await place.ask("ann", f"/access-requests/{request['id']}/done")
    await place.denied("ann")  # the extension begins when the access would have ended


async def test_a206_extension_takes_the_approval_of_a_new_request(place: Place) -> None:
    request = await place.granted(seconds=900)
    extension = await extended(place, request)
    path, body = f"/access-requests/{extension['id']}/approve", {"binding": extension["binding"]}
    assert (await place.refused("ann", path, body))[:2] == (403, "AccessDenied")
    assert (await place.refused("eve", f"/access-requests/{request['id']}/extend", MORE))[0] == 404
    await place.rule("prod", automatic=[{"name": "ann", "condition": IS_ANN, "seconds": 120}])
    request = await place.request(seconds=900)
    [made] = (await extended(place, request))["grants"]
    assert (made["seconds"], made["approvers"]) == (120, 0)


async def test_a209_vote_is_counted_under_the_rule_whose_conditions_the_requester_met(place: Place) -> None:
    """The more specific rule takes one approval, but only from people with MFA, which the requester does not have."""
    lax = {"principals": ["group/engineers"], "condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}
    await place.rule("prod", requesters=lax)
    strict = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    await place.rule("everything", roles=["role/*"], stages=strict)
    request = await place.request()
    assert request["missing"] == {"everything/approval": 2}
    after = await place.approve("lee", request)
    assert (after["state"], after["missing"]) == ("pending", {"everything/approval": 1})
    await place.denied("ann")
    assert (await place.approve("lou", request))["state"] == "approved"
    await place.assume("ann")


async def test_a209_beneficiary_accepts_under_the_conditions_of_the_rule(place: Place) -> None:
    await place.rule("prod", on_behalf=True, requesters=FOR_MFA)
    place.keys["ann"] = await place.with_mfa("ann")
    request = await place.request(beneficiary=place.users["eve"].arn)
    path = f"/access-requests/{request['id']}"
    assert (await place.refused("eve", f"{path}/accept"))[:2] == (403, "AccessDenied")
    place.keys["eve"] = await place.with_mfa("eve")
    assert (await place.ask("eve", f"{path}/accept"))["state"] == "pending"


NOBODY = {"principals": ["user/nobody"]}
NEVER = {"StringEquals": {"aws:username": "nobody"}}
AUTOMATIC = [{"name": "ann", "condition": IS_ANN}]


async def vote(place: Place, who: str, request: Any, **more: Any) -> Answer:
    path = f"/access-requests/{request['id']}"
    seen = await place.ask(who, path, method="GET")
    return await place.server.api(place.keys[who], "POST", f"{path}/approve", body={"binding": seen["binding"], **more})


@pytest.mark.parametrize(
    "alone",
    [{"automatic": [{"name": "on call", "condition": NEVER}]}, {"break_glass": {"people": NOBODY}}],
    ids=["automatic", "break glass"],
)
async def test_a211_role_that_nobody_approves_is_not_granted_with_another(place: Place, alone: dict[str, Any]) -> None:
    await place.role("vault")
    await place.rule("vault", roles=["role/vault"], stages=[], **alone)
    after = await place.approve("lee", await place.request("ann", "prod", "vault"))
    assert (after["state"], after["missing"]) == ("pending", {"vault/no approvers": 1})
    for role in ("prod", "vault"):
        await place.denied("ann", role)


async def test_a211_escalation_of_one_rule_does_not_open_another(place: Place) -> None:
    await place.role("vault")
    for name in ("max", "olga"):
        await place.person(name, APPROVE)
    late = {"after_seconds": 60, "approvers": {"principals": ["user/max"]}}
    await place.rule("prod", escalation=late)
    of_olga = [{"approvers": {"principals": ["user/olga"]}}]
    await place.rule("vault", roles=["role/vault"], stages=of_olga, escalation={**late, "after_seconds": 86_400})
    request = await place.request("ann", "prod", "vault")

    def age(tx: Tx) -> None:
        found = tx.get(AccessRequest, id=request["id"])
        assert found is not None
        tx.replace(replace(found, created_at=found.created_at - 61_000))

    await place.change(age)
    await sweep(place.server.runtime.env)
    await place.approve("lee", request)
    after = await place.approve("max", request)
    assert (after["state"], after["missing"]) == ("pending", {"vault/approval": 1})
    await place.denied("ann", "vault")
    assert (await place.approve("olga", request))["state"] == "approved"


@pytest.mark.parametrize(
    "change",
    [
        {"max_seconds": 300},
        {"max_uses": 1},
        {"ticket": {}},
        {"ticket": {"required": False, "webhook": "https://tickets.example.com/"}},
        {"reason": {"patterns": ["INC-*"]}},
        {"requester_mfa_seconds": 60},
        {"requesters": FOR_MFA},
        {"description": "another text"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a211_request_is_held_to_a_rule_that_has_changed_since(place: Place, change: dict[str, Any]) -> None:
    request = await place.request()
    await place.rule("prod", **change)
    answer = await vote(place, "lee", request)
    assert (answer.status, "has to be requested again" in str(answer.json)) == (403, True)
    await place.denied("ann")
    path = f"/access-requests/{request['id']}/deny"
    seen = await place.ask("lee", f"/access-requests/{request['id']}", method="GET")
    assert (await place.ask("lee", path, {"binding": seen["binding"], "reason": "ask again"}))["state"] == "denied"


async def test_a211_accepted_request_is_approved_under_the_rule_that_it_was_accepted_under(place: Place) -> None:
    await place.rule("prod", on_behalf=True)
    request = await place.request(beneficiary=place.users["eve"].arn)
    await place.rule("prod", on_behalf=True, requesters=FOR_MFA)
    path = f"/access-requests/{request['id']}/accept"
    assert (await place.refused("eve", path))[:2] == (403, "AccessDenied")
    place.keys["eve"] = await place.with_mfa("eve")
    assert (await place.ask("eve", path))["state"] == "pending"
    assert (await vote(place, "lee", request)).status == 200


async def test_a211_accepted_request_is_held_to_the_rule_as_it_is_then(place: Place) -> None:
    await place.rule("prod", on_behalf=True)
    request = await place.request(beneficiary=place.users["eve"].arn)
    await place.rule("prod", on_behalf=True, max_seconds=300, automatic=[{"name": "all", "condition": {}}])
    assert (await place.refused("eve", f"/access-requests/{request['id']}/accept"))[0] == 400
    await place.denied("eve")


async def test_a212_automatic_rule_does_not_approve_a_later_start(place: Place) -> None:
    await place.rule("prod", automatic=AUTOMATIC)
    request = await place.request(starts_at=place.now + 86_400_000)
    assert request["state"] == "pending"
    assert (await place.request())["state"] == "approved"


async def reasons(place: Place, who: str = "ann") -> set[str]:
    found = await place.request(who)
    return {reason["feature"] for reason in found["risk_reasons"]}


async def test_a212_call_from_a_new_network_does_not_make_it_known(place: Place) -> None:
    actor = {"arn": place.users["ann"].arn, "principal_id": place.users["ann"].id, "account": place.account}
    actor |= {"access_key_id": place.keys["ann"].id, "kind": "user"}
    long_ago, source = place.now - 10 * 86_400_000, {"ip": "198.51.100.7"}
    env = place.server.runtime.env
    await env.journal.commit(Event(EventType.REQUEST_ALLOWED, long_ago, place.account, actor=actor, source=source))
    await place.server.sts(place.keys["ann"], "GetCallerIdentity")
    assert "new_network" in await reasons(place)


async def test_a212_refusals_of_another_key_and_behind_other_calls_count(place: Place) -> None:
    for _ in range(5):
        await place.denied("ann")
    first = place.keys["ann"]
    for _ in range(201):
        await place.server.sts(first, "GetCallerIdentity")
    assert "recent_denials" in await reasons(place)
    env, user = place.server.runtime.env, place.users["ann"]
    second = type(first)(env.ids.access_key("AKIA"), env.ids.secret())
    sealed = env.sealer.seal_secret(second.secret.encode(), place.account, user.id)
    await place.server.write(
        AccessKey(second.id, place.account, user.id, KeyStatus.ACTIVE, sealed, place.now, place.now)
    )
    place.keys["ann"] = second
    assert "recent_denials" in await reasons(place)


async def test_a213_sessions_made_from_a_granted_one_end_with_it(place: Place) -> None:
    await place.role("door", gated(place.account), policy("sts:AssumeRole"))
    await place.rule("door", roles=["role/door"])
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{place.account}:root"},
        "Action": "sts:AssumeRole",
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    further = [await place.role(name, trust, policy("sts:AssumeRole")) for name in ("next", "last")]
    await place.approve("lee", await place.request("ann", "door", seconds=300))
    key = await place.assume("ann", "door")
    ends = (await place.server.session_of(key))["expires_at"]
    for role in further:
        key = await place.server.assume(key, role.arn)
        assert (await place.server.session_of(key))["expires_at"] <= ends
    listed = await place.operator("GET", "/sessions")
    assert len(listed.json["sessions"]) == 3
