"""Attacks by way of credentials and roles that were taken away since: rows A328 to A333, and A283."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.test_access_afterwards import CLOSE, revoke
from tests.attack.test_access_whole import NOT_ELIGIBLE, approved_by_way_of_a_grant
from tests.attack.test_approvals import events, place
from tests.attack.test_chat import ALLOWED, Chat, chat
from tests.integration.api.access import APPROVE, REQUEST, Place, gated
from tests.integration.api.conftest import TENANT, Key, policy, server

from daypass.domain.directory import AccessKey, AccessVote, KeyStatus, OAuthClient, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition, Hop
from daypass.operations.broker import prepare
from daypass.operations.grants.eligible import Ballot
from daypass.operations.grants.standing import stands
from daypass.ports import Tx

__all__ = ["chat", "place", "server"]

OPEN = gated().replace('"true"', '"false"')
GLASS = {"people": {"principals": ["user/ann"]}, "mfa_seconds": None}


async def second_key(place: Place, name: str) -> Key:
    env, user = place.server.runtime.env, place.users[name]
    secret, key_id = env.ids.secret(), env.ids.access_key("AKIA")
    sealed = env.sealer.seal_secret(secret.encode(), TENANT, user.id)
    await place.server.write(AccessKey(key_id, TENANT, user.id, KeyStatus.ACTIVE, sealed, place.now, place.now))
    return Key(key_id, secret)


async def take(place: Place, key: Key, *, deleted: bool) -> None:
    def change(tx: Tx) -> None:
        found = tx.get(AccessKey, id=key.id)
        assert found is not None
        if deleted:
            tx.delete(found)
        else:
            tx.replace(replace(found, status=KeyStatus.INACTIVE))

    await place.change(change)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a328_vote_ends_with_the_access_key_that_cast_it(place: Place, deleted: bool) -> None:
    stolen, place.keys["lee"] = place.keys["lee"], await second_key(place, "lee")
    place.keys["thief"] = stolen
    request = await place.approve("thief", await place.request())
    assert request["state"] == "approved"
    await take(place, stolen, deleted=deleted)
    assert NOT_ELIGIBLE in await place.denied("ann")
    [ended] = await events(place, "access.ended")
    assert ended["detail"]["reason"] == "ineligible"
    await place.granted()
    await place.assume("ann")


async def test_a328_vote_by_a_session_of_a_deactivated_access_key_is_refused(place: Place) -> None:
    stolen, session = place.keys["lee"], await place.with_mfa("lee")
    await second_key(place, "lee")
    await take(place, stolen, deleted=False)
    place.keys["thief"] = session
    request = await place.request()
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    assert (await place.refused("thief", path, body))[:2] == (403, "AccessDenied")
    assert (await place.ask("ann", path.removesuffix("/approve"), method="GET"))["votes"] == []


async def test_a328_vote_ends_with_the_link_of_its_chat_user(chat: Chat) -> None:
    place = chat.place
    await place.rule("prod", **ALLOWED)
    request = await place.request()
    await chat.post(chat.click(request))
    await place.assume("ann")
    [link] = (await place.ask("lee", "/chat-users", method="GET"))["chat_users"]
    removed = await place.server.api(place.keys["lee"], "DELETE", f"/chat-users/{link['id']}")
    assert removed.status == 204
    assert NOT_ELIGIBLE in await place.denied("ann")


@pytest.mark.parametrize("enabled", [True, False])
async def test_a328_vote_does_not_stand_when_its_oauth_client_is_disabled(place: Place, enabled: bool) -> None:
    client, user = OAuthClient("DPCL" + "A" * 17, TENANT, "app", 1, 1, enabled), place.users["lee"]
    await place.server.write(client)
    hop = Hop("", TENANT, user.id, place.now, FeedPosition("", 0), "", client_id=client.id)
    read = place.server.runtime.directory.read
    assert await read(lambda tx: stands(tx, [hop], (), place.now, Ballot()), account=TENANT) is enabled


async def test_a329_vote_ends_when_its_grant_is_revoked_after_it_was_done(place: Place) -> None:
    grant, request = await approved_by_way_of_a_grant(place)
    await place.ask("kim", f"/access-requests/{request}/done")
    await place.assume("ann")
    await asyncio.sleep(0.01)
    await revoke(place, "grant", grant, block=False)
    assert NOT_ELIGIBLE in await place.denied("ann")


async def approved_by_a_chain(place: Place, *chain: str) -> None:
    """Kim approves ann's request at the end of a chain of roles, the first of which may approve."""
    for name in dict.fromkeys(chain):
        await place.role(name, OPEN, policy("daypass:*" if name == chain[-1] else "s3:*", "sts:AssumeRole"))
    await place.rule("prod", stages=[{"approvers": {"principals": [f"role/{chain[-1]}"]}}])
    await place.person("kim", policy("sts:AssumeRole"))
    place.keys["way"] = place.keys["kim"]
    for name in chain:
        place.keys["way"] = await place.assume("way", name)
    assert (await place.approve("way", await place.request()))["state"] == "approved"


async def test_a329_vote_ends_when_a_role_of_its_chain_is_deleted(place: Place) -> None:
    await approved_by_a_chain(place, "first", "leading")
    await place.change(lambda tx: tx.delete(tx.get(Role, id=place.roles["first"].id)))
    assert NOT_ELIGIBLE in await place.denied("ann")


async def test_vote_by_a_chain_that_returns_to_its_role_counts(place: Place) -> None:
    await approved_by_a_chain(place, "leading", "between", "leading")
    await place.assume("ann")


async def test_a330_grant_for_other_credentials_does_not_hide_another(place: Place) -> None:
    """Ann requested by way of a role first, which only its sessions can use."""
    await place.role("helper", OPEN, REQUEST)
    await place.rule("prod", requesters={"principals": ["role/helper"]})
    place.keys["helping"] = await place.assume("ann", "helper")
    first = await place.approve("lee", await place.request("helping"))
    assert "no longer allows" in await place.denied("ann")
    await place.rule("own", roles=["role/p*"], requesters={"principals": ["group/engineers"]})
    second = await place.granted()
    await place.assume("ann")
    listed = {each["id"]: each for each in (await place.ask("ann", "/grants", method="GET"))["grants"]}
    used = [listed[each["grants"][0]["id"]]["claimed_at"] is not None for each in (first, second)]
    assert used == [False, True]


@pytest.mark.parametrize("how", ["throttled", "hangs"])
async def test_a331_emergency_is_granted_when_the_record_cannot_be_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def sessions(*_: Any, **__: Any) -> Any:
        if how == "hangs":
            await asyncio.Event().wait()
        raise DaypassError(ErrorKind.THROTTLED, "Rate exceeded")

    monkeypatch.setattr(type(place.server.runtime.env.records), "sessions", sessions)
    monkeypatch.setattr(prepare, "_EMERGENCY_SECONDS", 0.05)
    await place.rule("prod", break_glass=GLASS)
    request = await place.request(break_glass=True, confirmation="prod")
    assert (request["state"], request["risk"]) == ("approved", 100)
    assert [reason["feature"] for reason in request["risk_reasons"]] == ["unknown"]
    await place.assume("ann")
    if how == "throttled":
        assert (await place.refused("ann", "/access-requests", place.wanted()))[0] == 429


async def test_a332_session_of_nobody_known_does_not_close_a_review(place: Place) -> None:
    await place.rule("prod", break_glass=GLASS)
    request = await place.request(break_glass=True, confirmation="prod")
    await place.person("rita", policy("daypass:CloseAccessReview", "sts:GetFederationToken"))
    made = await place.server.sts(place.keys["rita"], "GetFederationToken", Name="temp", Policy=CLOSE)
    parts = (made.findtext(f".//{name}", "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    place.keys["temp"] = Key(*parts)
    path, body = f"/access-reviews/{request['id']}/close", {"finding": "it was necessary"}
    status, _, message = await place.refused("temp", path, body)
    assert (status, "cannot close a review" in message) == (403, True)
    assert (await place.ask("rita", path, body))["finding"] == body["finding"]


async def test_a283_approver_of_one_role_does_not_substitute_another(place: Place) -> None:
    await place.role("web")
    await place.role("reader")
    await place.person("kim", APPROVE)
    await place.rule("web", roles=["role/web"], stages=[{"approvers": {"principals": ["user/kim"]}}])
    await place.rule("prod", roles=["role/prod", "role/reader"], substitutes=["role/reader"])
    request = await place.request("ann", "prod", "web")
    path = f"/access-requests/{request['id']}/approve"
    body = {"binding": request["binding"], "substitutes": {place.roles["prod"].arn: place.roles["reader"].arn}}
    assert (await place.refused("kim", path, body))[:2] == (403, "AccessDenied")
    changed = await place.ask("lee", path, body)
    assert changed["roles"] == [place.roles["reader"].arn, place.roles["web"].arn]


async def test_a333_vote_of_a_revoked_session_does_not_count_again_when_the_revocation_is_forgotten(
    place: Place,
) -> None:
    """Access that starts in weeks waits for its second approver until long after revocations are deleted."""
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    day = 86_400_000
    request = await place.request(starts_at=place.now + 20 * day)
    await place.approve("lee", request)
    await place.change(lambda tx: [tx.replace(replace(cast, at=cast.at - 8 * day)) for cast in tx.find(AccessVote)])
    after = await place.approve("lou", request)
    assert (after["state"], after["missing"]) == ("pending", {"prod/approval": 1})
    assert [vote["void"] for vote in sorted(after["votes"], key=lambda vote: vote["at"])] == [True, False]
    assert (await place.approve("lee", request))["state"] == "approved"
