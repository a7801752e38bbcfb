"""Attacks on what persons, votes, grants and sessions have in common: rows A323 to A327."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from tests.attack.test_approvals import events, place
from tests.integration.api.access import APPROVE, Place, gated
from tests.integration.api.conftest import ROOT, TENANT, policy, server

from daypass.domain.directory import Grant, Revocation, Role
from daypass.operations.broker.sweep import sweep
from daypass.ports import Tx
from daypass.stores.tx import StoreTx, end_sessions_of_all_accounts

__all__ = ["place", "server"]

NOT_ELIGIBLE = "no longer eligible to approve"


async def approved_by_way_of_a_grant(place: Place) -> tuple[str, str]:
    """Kim takes a role that approves by a grant, and approves ann's request in its session: the ids of grant and request."""
    await place.role("leading", gated(), APPROVE)
    await place.rule("leading", roles=["role/leading"], requesters={"principals": ["user/kim"]})
    await place.rule("prod", stages=[{"approvers": {"principals": ["role/leading"]}}])
    await place.person("kim", policy("daypass:CreateAccessRequest", "sts:AssumeRole"))
    way = await place.approve("lee", await place.request("kim", "leading"))
    place.keys["way"] = await place.assume("kim", "leading")
    request = await place.approve("way", await place.request("ann"))
    assert request["state"] == "approved"
    return way["grants"][0]["id"], way["id"]


@pytest.mark.parametrize("how", ["ended", "denied", "revoked"])
async def test_a323_vote_ends_with_the_grant_by_which_it_was_cast(place: Place, how: str) -> None:
    grant, request = await approved_by_way_of_a_grant(place)
    if how == "denied":
        body = {"reason": "it was a mistake", "binding": ""}
        await place.ask("lou", f"/access-requests/{request}/deny", body)
    elif how == "ended":
        ended = await place.server.api(ROOT, "POST", f"/grants/{grant}/end", {"account": TENANT}, body={})
        assert ended.status == 200, ended.body
    else:
        body = {"subject": "grant", "value": grant, "account": TENANT, "reason": "stolen"}
        made = await place.server.api(ROOT, "POST", "/revocations", body=body)
        assert made.status == 201, made.body
    assert NOT_ELIGIBLE in await place.denied("ann")
    assert len(await events(place, "access.ended")) >= 1


async def test_a323_vote_counts_when_its_grant_has_ended_as_planned(place: Place) -> None:
    _, request = await approved_by_way_of_a_grant(place)
    await place.ask("kim", f"/access-requests/{request}/done")
    await place.assume("ann")


async def stolen_session(place: Place) -> tuple[str, int]:
    """Lee's session approves ann's request after it was revoked: its id, and when that was."""
    lee = place.keys["lee"]
    place.keys["lee"] = stolen = await place.with_mfa("lee")
    listed = await place.server.api(ROOT, "GET", "/sessions", {"account": TENANT})
    [session] = [each for each in listed.json["sessions"] if each["access_key_id"] == stolen.id]
    revoked_at = place.now
    await asyncio.sleep(0.01)
    await place.granted()
    place.keys["lee"] = lee
    return session["session_id"], revoked_at


async def test_a324_vote_after_a_revocation_that_is_stored_later_does_not_count(place: Place) -> None:
    """A server without the database revokes the session, and stores that when the database is back."""
    session, at = await stolen_session(place)
    await place.server.write(Revocation(place.server.runtime.env.ids.session(), TENANT, "session", session, at, at))
    assert NOT_ELIGIBLE in await place.denied("ann")


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
    """Before a sweep finds the grant."""
    await place.rule("prod", roles=["role/p*"])
    await place.granted()
    await place.rule("strict", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    assert "more specific approval rule" in await place.denied("ann")
    assert (await sweep(place.server.runtime.env)).open == 0
