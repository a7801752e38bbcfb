"""Attacks between the reading, the decision and the use of an access request: row A289."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.attack.test_access_afterwards import OPEN
from tests.integration.api.access import REQUEST, Place, place
from tests.integration.api.conftest import TENANT, server

from daypass.domain.directory import Grant, Revocation, Role
from daypass.ports import Tx
from daypass.stores.entities import ENTITY_TABLES, EntityTable
from daypass.stores.tx import StoreTx, end_sessions_of_all_accounts

__all__ = ["place", "server"]
READER = [{"approvers": {"principals": ["group/leads"]}}]


def later(place: Place, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets time pass, without a sweep."""
    clock: Any = place.server.runtime.clock
    wall, monotonic = clock._wall, clock._monotonic
    monkeypatch.setattr(clock, "_wall", lambda: wall() + int(seconds * 1_000_000_000))
    monkeypatch.setattr(clock, "_monotonic", lambda: monotonic() + seconds)


async def test_a289_draft_is_not_accepted_after_its_deadline(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    always = [{"name": "always", "condition": {"StringEquals": {"aws:username": "eve"}}}]
    await place.rule("prod", on_behalf=True, pending_seconds=300, automatic=always)
    request = await place.request(beneficiary=place.users["eve"].arn)
    later(place, monkeypatch, 300)
    status, _, message = await place.refused("eve", f"/access-requests/{request['id']}/accept")
    assert (status, message) == (409, "The access request has expired.")
    await place.denied("eve")
    assert await place.events("access.accepted") == []


@pytest.mark.parametrize("action", ["approve", "deny"])
async def test_a289_vote_after_the_deadline_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    await place.rule("prod", pending_seconds=300)
    request = await place.request()
    later(place, monkeypatch, 300)
    body = {"binding": request["binding"], "reason": "too late"}
    status, _, message = await place.refused("lee", f"/access-requests/{request['id']}/{action}", body)
    assert (status, message) == (409, "The access request has expired.")
    await place.denied("ann")


async def test_a289_grant_is_not_claimed_after_its_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.rule("prod", claim_seconds=300)
    await place.granted()
    later(place, monkeypatch, 300)
    await place.denied("ann")


async def test_a289_grant_whose_time_is_over_is_not_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.granted(seconds=900)
    await place.assume("ann")
    later(place, monkeypatch, 900)
    await place.denied("ann")
    [found] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert found["state"] == "ended"


# --- What persons, votes, grants and sessions have in common: rows A324 to A327, and A342


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
        await place.operator("POST", f"/grants/{grant.id}/end", {})
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


# --- Access requests whose persons or uses are gone: rows A381, A384 and A431


async def shown(place: Place, request: Any, who: str = "ann") -> Any:
    return await place.ask(who, f"/access-requests/{request['id']}", method="GET")


async def at_work(place: Place) -> Any:
    """Ann requests in a session of a role that has a source identity."""
    await place.role("shift", OPEN, REQUEST)
    place.keys["shift"] = await place.assume("ann", "shift", SourceIdentity="Ann-at-work")
    return await place.request("shift")


@pytest.mark.parametrize("state", ["pending", "approved"])
async def test_a381_requests_and_grants_of_before_a_revocation_of_their_source_identity_end(
    place: Place, state: str
) -> None:
    request = await at_work(place)
    if state != "pending":
        await place.approve("lee", request)
    await place.revoke("source_identity", "ann-at-home")
    assert (await shown(place, request))["refused"] == {}
    await asyncio.sleep(0.01)
    await place.revoke("source_identity", "Ann-at-work")
    after = await shown(place, request)
    assert (after["state"], after["binding"], len(after["refused"])) == (state, "", state != "pending")
    if state != "pending":
        assert "revoked" in await place.denied("ann")
        after = await shown(place, request)
        assert (after["state"], after["end_reason"]) == ("ended", "ineligible")
    await place.granted()  # what Ann requests afterwards is not ended
    await place.assume("ann")


async def test_a431_many_revocations_cost_a_use_of_a_grant_no_reading_of_each(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant could hold up the writer, which all share, by revoking thousands of source identities of its own."""
    request = await at_work(place)
    now = place.now
    revoked = [Revocation(f"r{n:05}", TENANT, "source_identity", f"person{n}", now, now) for n in range(2_000)]
    await place.server.write(*revoked)
    await place.approve("lee", request)
    read: list[str] = []

    def counted(*row: Any) -> Revocation:
        read.append(row[0])
        return Revocation(*row)

    tables = cast(dict[type[Any], EntityTable], ENTITY_TABLES)
    monkeypatch.setitem(tables, Revocation, replace(tables[Revocation], entity=cast(type[Any], counted)))
    await place.assume("ann")
    assert len(read) < 10


@pytest.mark.parametrize("uses", [None, 3])
async def test_a384_first_use_that_a_failover_has_lost_starts_the_clock(
    place: Place, monkeypatch: pytest.MonkeyPatch, uses: int | None
) -> None:
    """The database is an earlier one, in which the grant is unused. Servers use one-time proofs up again."""
    await place.rule("prod", **({"max_uses": uses} if uses else {}))
    request = await place.granted(seconds=3600)
    read = place.server.runtime.env.directory.read
    [grant] = await read(lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT)
    await place.assume("ann")
    [used] = await read(lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT)
    await place.change(lambda tx: tx.replace(grant))
    later(place, monkeypatch, 1200)
    await place.assume("ann", DurationSeconds="3600")  # which is more than is left
    [again] = await read(lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT)
    assert (again.claimed_at, again.ends_at) == (used.claimed_at, used.ends_at)
    assert again.uses == (2 if uses else 0)
    later(place, monkeypatch, 2400)
    await place.denied("ann")


async def test_a384_grant_whose_lost_first_use_is_over_gives_no_session(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await place.granted(seconds=900)
    read = place.server.runtime.env.directory.read
    [grant] = await read(lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT)
    await place.assume("ann")
    await place.change(lambda tx: tx.replace(grant))
    later(place, monkeypatch, 900)
    assert "ended (time)" in await place.denied("ann")
    assert (await shown(place, request))["state"] == "ended"
