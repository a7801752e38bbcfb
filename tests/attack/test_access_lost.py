"""Attacks with access requests whose devices, persons, roles or uses are gone: rows A380 to A386."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.attack.test_access_afterwards import revoke
from tests.attack.test_access_at_use import later
from tests.attack.test_access_counted import TWO, permissions
from tests.attack.test_access_roles import OPEN
from tests.attack.test_access_whole import NOT_ELIGIBLE
from tests.attack.test_approvals import events, place
from tests.attack.test_extensions import extended
from tests.integration.api.access import REQUEST, Place
from tests.integration.api.conftest import TENANT, policy, server

from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    ChatLink,
    Grant,
    KeyStatus,
    MfaDevice,
    Passkey,
    Revocation,
    Role,
    User,
)
from daypass.domain.totp import code_at, step_at
from daypass.operations.broker.sweep import sweep
from daypass.operations.iam.user_devices import seal_seed
from daypass.ports import Tx
from daypass.stores.entities import ENTITY_TABLES, EntityTable

__all__ = ["place", "server"]


async def shown(place: Place, request: Any, who: str = "ann") -> Any:
    return await place.ask(who, f"/access-requests/{request['id']}", method="GET")


async def device_of(place: Place, who: str) -> tuple[str, dict[str, str]]:
    """The serial number of a new device, and a code of it as votes send it."""
    env, user = place.server.runtime.env, place.users[who]
    seed, serial = env.ids.seed()[:20], f"arn:aws:iam::{TENANT}:mfa/{who}"
    sealed = seal_seed(env.sealer, seed, TENANT, user.id, serial)
    await place.server.write(MfaDevice(TENANT, serial, who, "/", place.now, sealed, user.id, place.now))
    return serial, {"serial_number": serial, "token_code": code_at(seed, step_at(place.now))}


@pytest.mark.parametrize("how", ["deactivated", "deleted", "another user's", "enabled again", "wrong code"])
async def test_a380_vote_that_a_lost_mfa_device_confirmed_does_not_count(place: Place, how: str) -> None:
    serial, code = await device_of(place, "lee")
    request = await place.request()
    await place.approve("lee", request, mfa=code)

    def change(tx: Tx) -> None:
        device = tx.get(MfaDevice, serial=serial)
        assert device is not None
        changes: dict[str, dict[str, Any]] = {
            "deactivated": {"owner_id": None, "enabled_at": None},
            "another user's": {"owner_id": place.users["eve"].id},
            "enabled again": {"enabled_at": place.now + 1},
            "wrong code": {"failures": 1},
        }
        if how == "deleted":
            tx.delete(device)
        else:
            tx.replace(replace(device, **changes[how]))

    await place.change(change)
    if how == "wrong code":  # nothing was lost
        await place.assume("ann")
        return
    [vote] = (await shown(place, request))["votes"]
    assert (vote["void"], "credentials of the vote" in vote["why"]) == (True, True)
    assert NOT_ELIGIBLE in await place.denied("ann")


async def test_a380_vote_with_mfa_waits_for_another_approver_when_its_device_is_lost(place: Place) -> None:
    await place.rule("prod", stages=TWO)
    serial, code = await device_of(place, "lee")
    request = await place.request()
    await place.approve("lee", request, mfa=code)
    await place.server.iam(
        await place.person("admin", policy("iam:*")), "DeactivateMFADevice", UserName="lee", SerialNumber=serial
    )
    after = await place.approve("lou", request)
    assert (after["state"], after["missing"]) == ("pending", {"prod/approval": 1})
    assert (await place.approve("lee", request))["state"] == "approved"


@pytest.mark.parametrize("lost", ["device", "passkey", "chat user"])
async def test_a380_lost_device_is_on_the_change_feed_of_its_user_for_the_next_sweep(place: Place, lost: str) -> None:
    lee, directory = place.users["lee"], place.server.runtime.env.directory
    admin = await place.person("admin", policy("iam:*", "daypass:DeleteChatLink"))
    serial, _ = await device_of(place, "lee")
    await place.server.write(
        Passkey("credential", TENANT, lee.id, "key", place.now, b"", 1, "0"),
        ChatLink(TENANT, "slack:1:2:3", lee.id, "lee", place.now),
    )
    before = directory.seen()
    if lost == "chat user":
        query = {"user": "lee"}
        answer = await place.server.api(admin, "DELETE", "/chat-users/slack:1:2:3", query)
        assert answer.status == 204, answer.body
    else:
        if lost == "passkey":
            listed = await place.server.query(admin, "iam", "2010-05-08", "ListMFADevices", UserName="lee")
            [serial] = [part.split("<")[0] for part in listed.body.decode().split("<SerialNumber>") if "u2f" in part]
        await place.server.iam(admin, "DeactivateMFADevice", UserName="lee", SerialNumber=serial)
    assert await directory.changed_accounts(before, [User]) == {TENANT}


async def at_work(place: Place) -> Any:
    """Ann requests in a session of a role that has a source identity."""
    await place.role("shift", OPEN, REQUEST)
    place.keys["shift"] = await place.assume("ann", "shift", SourceIdentity="Ann-at-work")
    return await place.request("shift")


@pytest.mark.parametrize("state", ["pending", "approved", "claimed"])
async def test_a381_requests_and_grants_of_before_a_revocation_of_their_source_identity_end(
    place: Place, state: str
) -> None:
    request = await at_work(place)
    if state != "pending":
        await place.approve("lee", request)
    if state == "claimed":
        await place.assume("ann")
    await revoke(place, "source_identity", "ann-at-home", block=False)
    assert (await shown(place, request))["refused"] == {}
    await asyncio.sleep(0.01)
    await revoke(place, "source_identity", "Ann-at-work", block=False)
    after = await shown(place, request)
    assert (after["state"], after["binding"], len(after["refused"])) == (state, "", state != "pending")
    if state != "pending":
        assert "revoked" in await place.denied("ann")
    await sweep(place.server.runtime.env)
    after = await shown(place, request)
    ended = {"pending": ("cancelled", "ineligible")}.get(state, ("ended", "revoked"))
    assert (after["state"], after["end_reason"]) == ended
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
    await revoke(place, "source_identity", "ANN-AT-WORK", block=False)
    assert "revoked" in await place.denied("ann")


@pytest.mark.parametrize("who", ["principal", "account"])
async def test_a382_grant_by_a_server_whose_clock_is_fast_ends_with_a_revocation_that_it_had_not_read(
    place: Place, who: str
) -> None:
    request = await place.granted()

    def fast(tx: Tx) -> None:
        found = tx.get(AccessRequest, id=request["id"])
        assert found is not None
        tx.replace(replace(found, created_at=found.created_at + 5_000))

    await place.change(fast)
    assert (await shown(place, request))["refused"] == {}
    if who == "principal":
        await revoke(place, "principal", place.users["ann"].arn, block=False)
        assert "revoked" in await place.denied("ann")
    else:
        await revoke(place, "account", TENANT, block=False)
    await sweep(place.server.runtime.env)
    after = await shown(place, request)
    assert (after["state"], after["end_reason"]) == ("ended", "revoked")


async def take(place: Place, lost: str) -> Any:
    """A pending request of a person who loses something, and what its readers are told."""
    if lost == "role":
        await place.role("shift", OPEN, REQUEST)
        await place.person("kim", policy("sts:AssumeRole"), "engineers")
        place.keys["shift"] = await place.assume("kim", "shift")
        request, why = await place.request("shift"), "is no longer permitted to request"
        closed = OPEN.replace(f"{TENANT}:root", f"{TENANT}:user/ann")
        await place.change(lambda tx: tx.replace(replace(place.roles["shift"], trust_document=closed)))
        return request, why
    request = await place.request()
    if lost == "permission":
        await permissions(place, "ann", policy("daypass:GetAccessRequest"))
        return request, "is no longer permitted to request"

    def deactivate(tx: Tx) -> None:
        key = tx.get(AccessKey, id=place.keys["ann"].id)
        assert key is not None
        tx.replace(replace(key, status=KeyStatus.INACTIVE))

    await place.change(deactivate)
    return request, "has been disabled"


@pytest.mark.parametrize("lost", ["permission", "role", "key"])
async def test_a383_request_of_a_person_who_may_not_request_any_more_is_shown_so_and_not_approved(
    place: Place, lost: str
) -> None:
    request, why = await take(place, lost)
    seen = await shown(place, request, "lee")
    assert (seen["state"], seen["binding"], why in seen["obstacle"]) == ("pending", "", True)
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    status, code, message = await place.refused("lee", path, body)
    assert (status, code, why in message) == (403, "AccessDenied", True)
    assert await events(place, "access.approved") == []
    if lost == "permission":
        await permissions(place, "ann", REQUEST)
        assert (await place.approve("lee", request))["state"] == "approved"
        await place.assume("ann")
        return
    denial = {"reason": "who are you", "binding": ""}
    assert (await place.ask("lee", f"/access-requests/{request['id']}/deny", denial))["state"] == "denied"


async def test_a383_extension_of_access_that_is_refused_is_shown_so_and_not_approved(place: Place) -> None:
    await place.rule("prod", break_glass={"people": {"principals": ["user/ann"]}, "mfa_seconds": None})
    request = await extended(place, await place.request(break_glass=True, confirmation="prod"))
    await permissions(place, "ann", policy("daypass:CreateAccessRequest", "daypass:GetAccessRequest"))
    assert "no longer permitted" in (await shown(place, request, "lee"))["obstacle"]
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    assert (await place.refused("lee", path, body))[:2] == (403, "AccessDenied")


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


@pytest.mark.parametrize("automatic", [False, True])
async def test_a385_emergency_without_the_ticket_of_the_rule_is_extended_by_persons_alone(
    place: Place, automatic: bool
) -> None:
    always = [{"name": "always", "condition": {"StringEquals": {"aws:username": "ann"}}}]
    glass = {"people": {"principals": ["user/ann"]}, "mfa_seconds": None, "seconds": 600}
    rules: dict[str, Any] = {"automatic": always} if automatic else {}
    await place.rule("prod", ticket={"required": True}, break_glass=glass, **rules)
    assert "ticket" in (await place.refused("ann", "/access-requests", place.wanted()))[2]
    request = await extended(place, await place.request(break_glass=True, confirmation="prod"))
    assert request["state"] == "pending"
    [before] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert (await place.approve("lee", request))["state"] == "ended"
    [after] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert (after["seconds"], after["approvers"]) == (before["seconds"] + 600, 0)


@pytest.mark.parametrize("every", [True, False])
async def test_a386_request_for_a_deleted_role_ends_by_itself(place: Place, every: bool) -> None:
    await place.role("web")
    await place.rule("prod", roles=["role/prod", "role/web"])
    request, other = await place.request("ann", "prod", "web"), await place.request("eve", "prod")

    def delete(tx: Tx) -> None:
        for name in ("web", "prod") if every else ("web",):
            tx.delete(tx.get(Role, id=place.roles[name].id))

    await place.change(delete)
    await sweep(place.server.runtime.env)
    after = await shown(place, request)
    assert (after["state"], after["end_reason"]) == ("cancelled", "role_deleted")
    assert (await shown(place, other, "eve"))["state"] == ("cancelled" if every else "pending")
    ended = [event["detail"] for event in await events(place, "access.expired")]
    assert {"request": request["id"], "state": "cancelled", "reason": "role_deleted"} in ended


async def test_a386_extension_of_access_that_has_ended_ends_by_itself(place: Place) -> None:
    request = await place.granted()
    extension = await extended(place, request)
    await sweep(place.server.runtime.env)
    assert (await shown(place, extension))["state"] == "pending"
    await place.ask("ann", f"/access-requests/{request['id']}/done")
    await sweep(place.server.runtime.env)
    after = await shown(place, extension)
    assert (after["state"], after["end_reason"]) == ("cancelled", "access_ended")
