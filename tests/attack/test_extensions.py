"""Attacks through what follows an approval: rows A206, extensions beyond what was approved, A207,
substituted roles, and A209 and A251, another rule than the one whose conditions the requester met.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.api.access import APPROVE, Place
from tests.integration.api.conftest import TENANT, Server, policy, server

__all__ = ["server"]
NARROW = policy("orders:Get")
FOR_MFA = {"principals": ["group/engineers"], "condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}


@pytest.fixture
async def place(server: Server) -> Place:  # the fixture that is imported
    made = Place(server)
    await made.fill()
    return made


async def extended(place: Place, request: Any, seconds: int = 600) -> Any:
    body = {"seconds": seconds, "reason": "the fix takes longer"}
    return await place.ask("ann", f"/access-requests/{request['id']}/extend", body)


async def grant(place: Place) -> Any:
    [found] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    return found


@pytest.mark.parametrize("used", [True, False])
async def test_a206_extension_is_as_short_and_narrow_as_its_approver_says(place: Place, used: bool) -> None:
    request = await place.granted(seconds=900)
    if used:
        await place.assume("ann")
    before = await grant(place)
    await place.approve("lee", await extended(place, request), seconds=60, policy=NARROW)
    after = await grant(place)
    if used:
        assert after["ends_at"] == before["ends_at"] + 60_000
    else:
        assert after["seconds"] == before["seconds"] + 60
    assert after["policies"] == [NARROW]


async def test_a206_extension_is_as_short_as_an_automatic_rule_says(place: Place) -> None:
    automatic = [{"name": "short", "condition": {"StringEquals": {"aws:username": "ann"}}, "seconds": 120}]
    await place.rule("prod", automatic=automatic)
    request = await place.request(seconds=900)
    before = await grant(place)
    assert (await extended(place, request))["state"] == "ended"
    assert (await grant(place))["seconds"] == before["seconds"] + 120


async def test_a206_extensions_before_the_first_use_are_limited_together(place: Place) -> None:
    await place.rule("prod", max_seconds=900, max_total_seconds=1200)
    request = await place.granted(seconds=900)
    await place.approve("lee", await extended(place, request, 300))
    more = await extended(place, request, 300)
    seen = await place.ask("lee", f"/access-requests/{more['id']}", method="GET")
    answer = await place.refused("lee", f"/access-requests/{more['id']}/approve", {"binding": seen["binding"]})
    assert answer == (400, "ValidationError", "With all extensions, a grant has at most 1200 seconds.")
    assert (await grant(place))["seconds"] == 1200


async def test_a207_substituted_role_takes_the_permission_to_approve_it(place: Place) -> None:
    await place.role("other")
    other = place.roles["other"].arn
    await place.rule("prod", roles=["role/prod", "role/other"], substitutes=["role/other"])
    statement = json.loads(APPROVE)["Statement"]
    held = {"Effect": "Deny", "Action": "daypass:*", "Resource": f"arn:aws:daypass::{TENANT}:access-request/other"}
    allowed = statement if isinstance(statement, list) else [statement]
    await place.person("kim", json.dumps({"Version": "2012-10-17", "Statement": [*allowed, held]}), "leads")
    request = await place.request()
    seen = await place.ask("kim", f"/access-requests/{request['id']}", method="GET")
    body = {"binding": seen["binding"], "substitutes": {place.roles["prod"].arn: other}}
    status, code, message = await place.refused("kim", f"/access-requests/{request['id']}/approve", body)
    assert (status, code, "access-request/other" in message) == (403, "AccessDenied", True)
    assert (await place.ask("ann", f"/access-requests/{request['id']}", method="GET"))["state"] == "pending"


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


@pytest.mark.parametrize("strict", [{"requester_mfa_seconds": 300}, {"requesters": FOR_MFA}, {"ticket": {}}])
async def test_a251_substitute_under_a_rule_that_the_request_does_not_satisfy_is_refused(
    place: Place, strict: dict[str, Any]
) -> None:
    other = await place.role("reader")
    await place.rule("prod", substitutes=["role/reader"])
    await place.rule("reader", roles=["role/reader"], **strict)
    request = await place.request()
    body = {"binding": request["binding"], "substitutes": {place.roles["prod"].arn: other.arn}}
    status, _, _ = await place.refused("lee", f"/access-requests/{request['id']}/approve", body)
    assert status in (400, 403)
    await place.denied("ann", "reader")


async def test_a251_substitute_of_one_role_does_not_change_the_rule_of_another(place: Place) -> None:
    """Without MFA only the laxer, more general rule admits ann; the specific one has one stage less."""
    await place.role("second")
    await place.role("reader")
    strict = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    await place.rule("everything", roles=["role/*"], substitutes=["role/reader"], stages=strict)
    await place.rule("prod", requesters=FOR_MFA)
    request = await place.request("ann", "prod", "second")
    after = await place.approve("lee", request, substitutes={place.roles["second"].arn: place.roles["reader"].arn})
    assert (after["state"], after["missing"]) == ("pending", {"everything/approval": 1})
    await place.denied("ann")
