"""The stream of revocations: what a follower sees, how it resumes, and what it costs when it does not read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT_ROOT, Key, Server, policy
from tests.integration.api.following import following

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import match_id
from daypass.operations.sessions import follow_revocations


async def revoke(server: Server, value: str, key: object = ROOT, **more: object) -> str:
    body = {"subject": "source_identity", "value": value, "force": True, **more}
    answer = await server.api(key, "POST", "/revocations", body=body)  # type: ignore[arg-type]
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def test_follow_sends_what_is_known_then_each_new_revocation(server: Server) -> None:
    known = await revoke(server, "first")
    async with following(server, ROOT) as follower:
        start = await follower.until("heartbeat")
        assert [event.name for event in start] == ["reset", "revocation", "heartbeat"]
        assert start[1].data["id"] == known
        made = await revoke(server, "second", reason="private")
        events = await follower.until("revocation")
        shown = events[-1].data
        assert shown["id"] == made
        expected = Revocation("", OPERATOR, "source_identity", "second", 0, 0)
        assert (shown["account"], shown["match"]) == (OPERATOR, match_id(expected))
        assert "reason" not in shown
        heartbeat = (await follower.until("heartbeat"))[-1]
        assert heartbeat.data["position"] >= shown["position"] > 0


async def test_follow_resumes_after_the_last_heartbeat(server: Server) -> None:
    await revoke(server, "first")
    async with following(server, ROOT) as follower:
        last = (await follower.until("heartbeat"))[-1].id
    made = await revoke(server, "second")
    async with following(server, ROOT, last=last) as follower:
        events = await follower.until("heartbeat")
    assert [event.name for event in events] == ["revocation", "heartbeat"]
    assert events[0].data["id"] == made


@pytest.mark.parametrize("last", ["0123456789abcdef-5", "nonsense", "-1"])
async def test_follow_from_another_epoch_starts_over(server: Server, last: str) -> None:
    await revoke(server, "first")
    async with following(server, ROOT, last=last) as follower:
        assert [event.name for event in await follower.until("heartbeat")] == ["reset", "revocation", "heartbeat"]


async def test_follow_from_a_later_position_starts_over(server: Server) -> None:
    """Another server or a changed id: what came before it may be unknown to the follower."""
    async with following(server, ROOT) as follower:
        last = (await follower.until("heartbeat"))[-1].data
    made = await revoke(server, "first")
    async with following(server, ROOT, last=f"{last['epoch']}-{last['position'] + 10**6}") as follower:
        events = await follower.until("heartbeat")
    assert [event.name for event in events] == ["reset", "revocation", "heartbeat"]
    assert events[1].data["id"] == made


async def test_follow_has_heartbeats_whose_completeness_advances(server: Server) -> None:
    async with following(server, ROOT) as follower:
        first = (await follower.until("heartbeat"))[-1].data
        while (later := (await follower.until("heartbeat"))[-1].data)["complete_until"] == first["complete_until"]:
            pass
    assert later["complete_until"] > first["complete_until"]
    assert later["complete_until"] <= later["at"]


async def test_follow_shows_a_lifted_block_again(server: Server) -> None:
    made = await revoke(server, "leaver", block=True)
    async with following(server, ROOT) as follower:
        await follower.until("heartbeat")
        await server.api(ROOT, "POST", f"/revocations/{made}/lift")
        event = (await follower.until("revocation"))[-1]
    assert (event.data["id"], event.data["block_until"] is not None) == (made, True)


async def test_follow_sees_only_the_accounts_that_it_may(server: Server) -> None:
    theirs, own = await revoke(server, "operators"), await revoke(server, "tenants", TENANT_ROOT)
    async with following(server, TENANT_ROOT) as follower:
        seen = {event.data.get("id") for event in await follower.until("heartbeat")}
        assert own in seen
        assert theirs not in seen
        await revoke(server, "operators-again")
        again = await revoke(server, "tenants-again", TENANT_ROOT)
        assert (await follower.until("revocation"))[-1].data["id"] == again
    assert b"operators" not in follower.body
    async with following(server, ROOT, "account=%2A") as follower:
        assert {theirs, own} <= {event.data.get("id") for event in await follower.until("heartbeat")}


@pytest.mark.parametrize("query", [f"account={OPERATOR}", "account=%2A"])
async def test_follow_of_another_account_is_refused_and_recorded(server: Server, query: str) -> None:
    async with following(server, TENANT_ROOT, query) as follower:
        await asyncio.wait_for(follower.task, 20)
    assert follower.status == 403
    refused = [e for e in await server.events() if e.get("operation") == "daypass:FollowRevocations" and e.get("error")]
    assert refused[-1]["error"] == "access_denied"


async def test_follow_without_credentials_or_permission_is_refused(server: Server) -> None:
    async with following(server, None) as follower:
        await asyncio.wait_for(follower.task, 20)
    assert follower.status == 403
    _, helper = await server.user("helper", OPERATOR)
    async with following(server, helper) as follower:
        await asyncio.wait_for(follower.task, 20)
    assert follower.status == 403
    _, allowed = await server.user("verifier", OPERATOR, policy("daypass:FollowRevocations"))
    async with following(server, allowed) as follower:
        await follower.until("heartbeat")
        assert follower.status == 200


async def test_follow_ends_when_the_followers_own_key_is_revoked(server: Server) -> None:
    _, key = await server.user("verifier", OPERATOR, policy("daypass:FollowRevocations", "sts:GetSessionToken"))
    async with following(server, key) as follower:
        await follower.until("heartbeat")
        await server.api(ROOT, "POST", "/revocations", body={"subject": "access_key", "value": key.id, "block": True})
        await asyncio.wait_for(follower.task, 20)


async def test_follow_by_a_client_that_does_not_read_is_dropped(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daypass.wire.revocations._SLOW_SECONDS", 0.05)
    async with following(server, ROOT) as follower:
        await follower.until("heartbeat")
        follower.accepting.clear()
        await revoke(server, "unread")
        await asyncio.wait_for(follower.task, 20)
    assert b"unread" not in follower.body


async def test_follow_ends_when_the_server_stops(server: Server) -> None:
    async with following(server, ROOT) as follower:
        await follower.until("heartbeat")
        server.runtime.directory.feed.close()
        await asyncio.wait_for(follower.task, 20)


async def test_follow_is_counted_and_limited_for_each_account(server: Server) -> None:
    async with AsyncExitStack() as opened:
        for _ in range(3):
            follower = await opened.enter_async_context(following(server, ROOT))
            await follower.until("heartbeat")
        assert "daypass_event_streams 3.0" in server.runtime.render_metrics().decode()
        one_more = await opened.enter_async_context(following(server, ROOT))
        await asyncio.wait_for(one_more.task, 20)
        assert one_more.status == 429
        others = await opened.enter_async_context(following(server, TENANT_ROOT))
        await others.until("heartbeat")
    assert "daypass_event_streams 0.0" in server.runtime.render_metrics().decode()


async def test_a237_streams_of_accounts_leave_the_places_of_nodes(server: Server) -> None:
    """And nodes leave those of accounts."""
    proof = server.runtime.env.nodes.make()
    async with AsyncExitStack() as opened:

        async def status(key: Key | None) -> int:
            follower = await opened.enter_async_context(following(server, key, proof="" if key else proof))
            beat = asyncio.ensure_future(follower.until("heartbeat"))
            await asyncio.wait((beat, follower.task), return_when=asyncio.FIRST_COMPLETED, timeout=20)
            beat.cancel()
            return follower.status

        of_accounts = [ROOT, ROOT, ROOT, TENANT_ROOT, TENANT_ROOT, TENANT_ROOT]
        assert [await status(key) for key in of_accounts] == [200] * 5 + [429]
        assert [await status(None) for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize("what", ["key", "policy"])
async def test_follow_ends_when_the_followers_key_is_deactivated_or_its_policy_is_removed(
    server: Server, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("daypass.operations.sessions.follow_revocations._AGAIN_SECONDS", 0.1)
    user, key = await server.user("verifier", OPERATOR, policy("daypass:FollowRevocations"))
    async with following(server, ROOT) as control, following(server, key) as follower:
        for _ in range(3):
            await follower.until("heartbeat")
        if what == "key":
            await server.iam(ROOT, "UpdateAccessKey", UserName=user.name, AccessKeyId=key.id, Status="Inactive")
        else:
            await server.iam(ROOT, "DeleteUserPolicy", UserName=user.name, PolicyName="p")
        await asyncio.wait_for(follower.task, 20)
        await control.until("heartbeat")
        assert not control.task.done()


async def test_follow_is_authorized_again_within_five_seconds() -> None:
    assert follow_revocations._AGAIN_SECONDS + 1 <= 5
