"""Requests that cannot be decided as they are, and what a failover takes from votes and grants: rows A375 to A377."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.attack.test_access_standing import take
from tests.attack.test_approvals import events, place
from tests.integration.api.access import APPROVE, Place
from tests.integration.api.conftest import TENANT, server

from daypass.domain.directory import AccessKey, Grant, KeyStatus, Role
from daypass.ports import Tx

__all__ = ["place", "server"]
DENIAL = {"reason": "one of the roles is gone"}


async def without_a_role(place: Place) -> str:
    """The path of ann's pending request for two roles, one of which has been deleted."""
    await place.role("web")
    await place.rule("prod", roles=["role/prod", "role/web"])
    request = await place.request("ann", "prod", "web")
    await place.change(lambda tx: tx.delete(tx.get(Role, id=place.roles["web"].id)))
    return f"/access-requests/{request['id']}"


async def test_a375_request_for_a_deleted_role_is_shown_with_the_reason_and_denied_by_its_approvers(
    place: Place,
) -> None:
    path = await without_a_role(place)
    gone = f"The role {place.roles['web'].arn} cannot be found."
    for who in ("ann", "lee"):
        shown = await place.ask(who, path, method="GET")
        assert (shown["state"], shown["binding"], shown["obstacle"]) == ("pending", "", gone)
    inbox = await place.ask("lee", "/access-requests", method="GET", query={"approvable": "true"})
    assert len(inbox["access_requests"]) == 1
    assert gone in (await place.refused("lee", f"{path}/approve", {"binding": ""}))[2]
    for who in ("ann", "eve"):
        assert (await place.refused(who, f"{path}/deny", DENIAL))[:2] == (403, "AccessDenied")
    assert (await place.ask("lee", f"{path}/deny", DENIAL))["state"] == "denied"
    assert (await events(place, "access.denied"))[-1]["detail"]["reason"] == DENIAL["reason"]


async def test_cancel_request_for_a_deleted_role_cancels_it(place: Place) -> None:
    path = await without_a_role(place)
    assert (await place.ask("ann", f"{path}/cancel"))["state"] == "cancelled"


@pytest.mark.parametrize("who", ["lee", "lia"])
async def test_show_request_whose_vote_counts_again_says_how_it_is_decided(place: Place, who: str) -> None:
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    await place.person("lia", APPROVE, "leads")
    request = await place.request()
    path, key = f"/access-requests/{request['id']}", place.keys["lee"]
    await place.approve("lee", request)
    await take(place, key, deleted=False)
    await place.approve("lou", request)

    def activate(tx: Tx) -> None:
        found = tx.get(AccessKey, id=key.id)
        assert found is not None
        tx.replace(replace(found, status=KeyStatus.ACTIVE))

    await place.change(activate)
    shown = await place.ask("ann", path, method="GET")
    assert (shown["state"], shown["missing"]) == ("pending", {})
    assert "Any approver decides it by voting again" in shown["obstacle"]
    assert (await place.approve(who, request))["state"] == "approved"
    assert (await place.ask("ann", path, method="GET"))["obstacle"] == ""


@pytest.mark.parametrize("uses", [1, 2])
async def test_a377_use_that_a_failover_has_lost_counts(place: Place, uses: int) -> None:
    """The database is an earlier one, in which the grant is unused. Servers use one-time proofs up again."""
    request = await place.granted(max_uses=uses)
    [grant] = await place.server.runtime.env.directory.read(
        lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT
    )
    await place.assume("ann")
    await place.change(lambda tx: tx.replace(grant))
    for _ in range(uses - 1):
        await place.assume("ann")
    await place.denied("ann")
