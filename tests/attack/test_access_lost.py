"""Attacks with access requests whose persons or uses are gone: rows A381, A384 and A431."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.attack.test_access_afterwards import revoke
from tests.attack.test_access_at_use import later
from tests.attack.test_access_roles import OPEN
from tests.attack.test_approvals import place
from tests.integration.api.access import REQUEST, Place
from tests.integration.api.conftest import TENANT, server

from daypass.domain.directory import (
    Grant,
    Revocation,
)
from daypass.stores.entities import ENTITY_TABLES, EntityTable

__all__ = ["place", "server"]


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
    await revoke(place, "source_identity", "ann-at-home", block=False)
    assert (await shown(place, request))["refused"] == {}
    await asyncio.sleep(0.01)
    await revoke(place, "source_identity", "Ann-at-work", block=False)
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
