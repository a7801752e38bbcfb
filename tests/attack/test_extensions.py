"""Attacks through what follows an approval: rows A206, extensions beyond what was approved, and A209, another rule than the
one whose conditions the requester met.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.api.access import Place
from tests.integration.api.conftest import Server, policy, server

__all__ = ["server"]
NARROW = policy("orders:Get")
MORE = {"seconds": 600, "reason": "the fix takes longer"}
IS_ANN = {"StringEquals": {"aws:username": "ann"}}
FOR_MFA = {"principals": ["group/engineers"], "condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}


@pytest.fixture
async def place(server: Server) -> Place:  # the fixture that is imported
    made = Place(server)
    await made.fill()
    return made


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
