"""Grants of what nobody approved: rows A211 (another rule, or a newer one), A212 (automatic approval of what the requester
chooses) and A213 (sessions made from granted ones).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.test_approvals import FOR_MFA, place
from tests.integration.api.access import APPROVE, Place, gated
from tests.integration.api.conftest import ROOT, TENANT, Answer, policy, server

from daypass.domain.directory import AccessKey, AccessRequest, KeyStatus
from daypass.domain.events import Event, EventType
from daypass.operations.access_requests.follow import sweep
from daypass.ports import Tx

__all__ = ["place", "server"]
NOBODY = {"principals": ["user/nobody"]}
NEVER = {"StringEquals": {"aws:username": "nobody"}}
IS_ANN = {"StringEquals": {"aws:username": "ann"}}
AUTOMATIC = [{"name": "ann", "condition": IS_ANN}]


async def vote(place: Place, who: str, request: Any, **more: Any) -> Answer:
    path = f"/access-requests/{request['id']}"
    seen = await place.ask(who, path, method="GET")
    return await place.server.api(place.keys[who], "POST", f"{path}/approve", body={"binding": seen["binding"], **more})


async def disabled(place: Place, name: str) -> None:
    def disable(tx: Tx) -> None:
        for key in tx.find(AccessKey, owner_id=place.users[name].id):
            tx.replace(replace(key, status=KeyStatus.INACTIVE))

    await place.change(disable)


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
    actor = {"arn": place.users["ann"].arn, "principal_id": place.users["ann"].id, "account": TENANT}
    actor |= {"access_key_id": place.keys["ann"].id, "kind": "user"}
    long_ago, source = place.now - 10 * 86_400_000, {"ip": "198.51.100.7"}
    env = place.server.runtime.env
    await env.journal.commit(Event(EventType.REQUEST_ALLOWED, long_ago, TENANT, actor=actor, source=source))
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
    sealed = env.sealer.seal_secret(second.secret.encode(), TENANT, user.id)
    await place.server.write(AccessKey(second.id, TENANT, user.id, KeyStatus.ACTIVE, sealed, place.now, place.now))
    place.keys["ann"] = second
    assert "recent_denials" in await reasons(place)


async def test_a213_sessions_made_from_a_granted_one_end_with_it(place: Place) -> None:
    await place.role("door", gated(), policy("sts:AssumeRole"))
    await place.rule("door", roles=["role/door"])
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{TENANT}:root"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    further = [await place.role(name, trust, policy("sts:AssumeRole")) for name in ("next", "last")]
    await place.approve("lee", await place.request("ann", "door", seconds=300))
    key = await place.assume("ann", "door")
    ends = (await place.server.session_of(key))["expires_at"]
    for role in further:
        key = await place.server.assume(key, role.arn)
        assert (await place.server.session_of(key))["expires_at"] <= ends
    listed = await place.server.api(ROOT, "GET", "/sessions", {"account": "*"})
    assert len(listed.json["sessions"]) == 3
