"""Attacks on grants by roles that their persons have lost, and by one approval for several roles: rows A378 and A379."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.attack.test_access_afterwards import revoke
from tests.attack.test_access_counted import permissions
from tests.attack.test_approvals import place
from tests.integration.api.access import REQUEST, Place, gated
from tests.integration.api.conftest import policy, server

from daypass.domain.directory import Role

__all__ = ["place", "server"]
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
    await revoke(place, "principal", place.users["lee"].arn, block=False)
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
