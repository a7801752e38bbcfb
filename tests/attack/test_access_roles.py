"""Attacks on grants by roles that their persons have lost, and by one approval for several roles: rows A378 and A379."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.attack.test_access_afterwards import revoke
from tests.attack.test_access_counted import permissions
from tests.attack.test_approvals import events, place
from tests.attack.test_federated_approvers import ISSUER, PROVIDER, signed_in
from tests.attack.tokens import trust_in
from tests.integration.api.access import REASON, REQUEST, Place, gated
from tests.integration.api.conftest import TENANT, policy, server
from tests.issuer import Issuer

from daypass.domain.directory import OidcProvider, Role
from daypass.operations.broker.sweep import sweep

__all__ = ["place", "server"]
OPEN = gated().replace('"true"', '"false"')


async def in_a_shift(place: Place) -> Role:
    """Kim, who may request by the role of a shift alone, has access that was requested in a session of that role."""
    shift = await place.role("shift", OPEN, REQUEST)
    await place.person("kim", policy("sts:AssumeRole"), "engineers")
    place.keys["shift"] = await place.assume("kim", "shift")
    await place.approve("lee", await place.request("shift"))
    return shift


async def lose(place: Place, shift: Role, lost: str) -> None:
    if lost == "permission":
        await permissions(place, "kim", policy("s3:*"))
    else:
        text = OPEN.replace(f"{TENANT}:root", f"{TENANT}:user/ann")
        await place.change(lambda tx: tx.replace(replace(shift, trust_document=text)))


@pytest.mark.parametrize("lost", ["trust", "permission"])
async def test_a378_grant_ends_with_the_role_by_which_it_was_requested(place: Place, lost: str) -> None:
    shift = await in_a_shift(place)
    session = await place.assume("shift")
    await place.assume("kim")  # by the same person's other credentials
    await sweep(place.server.runtime.env)
    assert await place.server.works(session)
    await lose(place, shift, lost)
    await sweep(place.server.runtime.env)
    assert not await place.server.works(session)
    [ended] = await events(place, "access.ended")
    assert (ended["detail"]["reason"], ended["detail"]["why"]) == (
        "ineligible",
        "You are no longer permitted to request this role.",
    )


@pytest.mark.parametrize("who", ["kim", "shift"])
async def test_a378_grant_is_not_used_between_the_loss_of_the_role_and_a_sweep(place: Place, who: str) -> None:
    """Neither by the person's own key, nor by a session of the role that has not expired."""
    shift = await in_a_shift(place)
    await lose(place, shift, "trust")
    assert "no longer permitted to request" in await place.denied(who)


async def test_a378_grant_outlasts_a_lost_role_that_the_person_did_not_need(place: Place) -> None:
    shift = await in_a_shift(place)
    await permissions(place, "kim", REQUEST)
    await lose(place, shift, "trust")
    await sweep(place.server.runtime.env)
    await place.assume("kim")


@pytest.mark.parametrize("lost", [True, False])
async def test_a378_grant_of_a_federated_person_ends_when_the_role_admits_it_no_more(place: Place, lost: bool) -> None:
    issuer = Issuer(ISSUER, "ES256", "sts.amazonaws.com")
    settings = json.dumps({"static_jwks": json.dumps(issuer.jwks())})
    await place.server.write(OidcProvider(TENANT, ISSUER, place.now, ("sts.amazonaws.com",), settings=settings))
    trust = trust_in(PROVIDER, StringLike={f"{ISSUER}:sub": "le*"}, StringEquals={f"{ISSUER}:aud": "sts.amazonaws.com"})
    shift = await place.role("shift", trust, REQUEST)
    await place.rule("prod", requesters={"principals": ["role/shift"]})
    place.keys["lena"] = await signed_in(place, shift, issuer, "lena")
    await place.approve("lee", await place.request("lena"))
    session = await place.assume("lena")
    text = trust_in(PROVIDER, StringEquals={f"{ISSUER}:sub": "lea" if lost else "lena"})
    await place.change(lambda tx: tx.replace(replace(shift, trust_document=text)))
    await sweep(place.server.runtime.env)
    assert await place.server.works(session) is not lost


async def for_two_roles(place: Place) -> None:
    """Access of ann to two roles with a rule each, which took the approvals of two persons."""
    await place.role("web")
    await place.rule("web", roles=["role/web"])
    request = await place.request("ann", "prod", "web")
    assert (await place.approve("lee", request))["state"] == "pending"
    assert (await place.approve("lou", request))["state"] == "approved"


@pytest.mark.parametrize("extended", [False, True])
async def test_a379_approver_of_one_role_does_not_stand_in_for_a_revoked_one_of_the_other(
    place: Place, extended: bool
) -> None:
    await for_two_roles(place)
    session = await place.assume("ann")
    if extended:  # by others, of whom one is revoked
        [request] = (await place.ask("ann", "/own-access", method="GET"))["access_requests"]
        more = {"seconds": 60, "reason": REASON}
        extension = await place.ask("ann", f"/access-requests/{request['id']}/extend", more)
        await place.approve("lou", extension)
        assert (await place.approve("lee", extension))["state"] == "ended"
    await asyncio.sleep(0.01)
    await revoke(place, "principal", place.users["lee"].arn, block=False)
    assert "no longer eligible to approve" in await place.denied("ann", "web")
    await sweep(place.server.runtime.env)
    assert not await place.server.works(session)
    assert "no longer eligible" not in await place.denied("ann")  # ended: there is nothing to be checked


async def test_a379_role_that_changed_leaves_the_access_to_the_other(place: Place) -> None:
    await for_two_roles(place)
    await place.change(lambda tx: tx.replace(replace(place.roles["web"], tags=(("tier", "1"),))))
    await place.denied("ann", "web")
    await place.assume("ann")
