"""Attacks by way of other credentials, the record and reviews: rows A330 to A332."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.test_access_afterwards import CLOSE
from tests.attack.test_approvals import place
from tests.attack.test_chat import chat
from tests.integration.api.access import REQUEST, Place, gated
from tests.integration.api.conftest import TENANT, Key, policy, server

from daypass.domain.directory import AccessKey, KeyStatus
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import prepare
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
