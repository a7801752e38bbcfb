"""Attacks on what persons, votes, grants and sessions have in common: rows A324 to A327, and A342."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from tests.attack.test_approvals import place
from tests.integration.api.access import Place
from tests.integration.api.conftest import ROOT, TENANT, server

from daypass.domain.directory import Grant, Role
from daypass.ports import Tx
from daypass.stores.tx import StoreTx, end_sessions_of_all_accounts

__all__ = ["place", "server"]

NOT_ELIGIBLE = "An approval does not count any more"


async def test_a324_grant_of_a_restored_database_gives_no_session(place: Place) -> None:
    """A restored database may lack the end and the uses of a grant. Restoring revokes the sessions of every account."""
    await place.rule("prod", automatic=[{"name": "ann", "condition": {"StringEquals": {"aws:username": "ann"}}}])
    assert (await place.request("ann"))["state"] == "approved"
    await asyncio.sleep(0.01)

    def restored(tx: Tx) -> None:
        end_sessions_of_all_accounts(cast("StoreTx", tx), place.now, "restored")

    await place.change(restored)
    assert "revoked" in await place.denied("ann")
    assert (await place.request("ann"))["state"] == "approved"
    await place.assume("ann")


@pytest.mark.parametrize("how", ["cancel", "deny", "done", "end"])
async def test_a342_access_whose_end_a_failover_has_lost_gives_no_session(place: Place, how: str) -> None:
    """The database is an earlier one, in which the grant is open and unused. Servers store their revocations again."""
    request = await place.approve("lee", await place.request("ann"))
    path = f"/access-requests/{request['id']}"
    [grant] = await place.server.runtime.env.directory.read(
        lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT
    )
    if how == "end":
        await place.server.api(ROOT, "POST", f"/grants/{grant.id}/end", {"account": TENANT}, body={})
    else:
        body = {"reason": "it was a mistake", "binding": ""} if how == "deny" else None
        await place.ask("lou" if how == "deny" else "ann", f"{path}/{how}", body)

    def lose_the_end(tx: Tx) -> None:
        ended = tx.get(Grant, id=grant.id)
        assert ended is not None
        assert ended.ended_at
        tx.replace(grant)

    await place.change(lose_the_end)
    assert "revoked" in await place.denied("ann")


async def test_a325_denial_ends_access_though_another_role_of_the_request_is_gone(place: Place) -> None:
    await place.role("web")
    await place.rule("prod", roles=["role/prod", "role/web"])
    request = await place.approve("lee", await place.request("ann", "prod", "web"))
    session = await place.assume("ann")
    await place.change(lambda tx: tx.delete(tx.get(Role, id=place.roles["web"].id)))
    body = {"reason": "it was a mistake", "binding": request["binding"]}
    assert (await place.refused("eve", f"/access-requests/{request['id']}/deny", body))[:2] == (403, "AccessDenied")
    await place.ask("lou", f"/access-requests/{request['id']}/deny", body)
    await place.denied("ann")
    assert (await place.server.sts(session, "GetCallerIdentity")).findtext(".//Code") == "ExpiredToken"


async def test_a327_stricter_rule_applies_at_the_next_use(place: Place) -> None:
    await place.rule("prod", roles=["role/p*"])
    await place.granted()
    await place.rule("strict", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    assert "no longer allows you" in await place.denied("ann")
