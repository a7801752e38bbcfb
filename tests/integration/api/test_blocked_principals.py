"""Questions about access give the decision of a real request: blocks and disabled keys are part of each answer."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, Key, Server, policy

from daypass.domain.directory import Role, User
from daypass.operations.blocks import NO_CREDENTIALS

ACTION = "orders:Read"
ASSUME = "sts:AssumeRole"


class Office:
    """alice, who may read orders and assume `work`, and bob, who may the same."""

    def __init__(self, server: Server, alice: User, key: Key, bob: Key, work: Role) -> None:
        self.server, self.alice, self.key, self.bob, self.work = server, alice, key, bob, work

    async def simulated(self, principal: str, action: str, resource: str = "*") -> dict[str, Any]:
        body = {"principal": principal, "actions": [action], "resources": [resource]}
        found: dict[str, Any] = (await self.server.api(ROOT, "POST", "/simulate", body=body)).json["results"][0]
        return found

    async def who_can(self, action: str, resource: str = "*") -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        query = {"action": action, "resource": resource, "denied": "true"}
        while True:
            page = (await self.server.api(ROOT, "GET", "/access/who-can", query)).json
            found |= {entry["principal"]: entry for entry in page["access"]}
            if not page["next"]:
                return found
            query["after"] = page["next"]

    async def what_can(self) -> dict[str, Any]:
        found: dict[str, Any] = (
            await self.server.api(ROOT, "GET", "/access/what-can", {"principal": self.alice.arn})
        ).json
        return found

    async def revoke(self, subject: str, value: str) -> str:
        body = {"subject": subject, "value": value, "block": True}
        answer = await self.server.api(ROOT, "POST", "/revocations", body=body)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])


@pytest.fixture
async def office(server: Server) -> Office:
    alice, key = await server.user("alice", OPERATOR, policy(ACTION, ASSUME))
    _, bob = await server.user("bob", OPERATOR, policy(ACTION, ASSUME))
    return Office(server, alice, key, bob, await server.role("work", OPERATOR, OPERATOR, policy(ACTION)))


async def test_questions_about_a_user_who_was_offboarded_are_answered_as_its_requests(office: Office) -> None:
    before = await office.simulated(office.alice.arn, ACTION)
    assert (before["decision"], before["note"]) == ("allowed", "")
    body = {"user": "alice", "reason": "left"}
    made = (await office.server.api(ROOT, "POST", "/offboardings", body=body)).json
    block = f"block by revocation {made['revocations'][0]['id']}"
    assert not await office.server.works(office.key)
    for action, resource in ((ACTION, "*"), (ASSUME, office.work.arn)):
        after = await office.simulated(office.alice.arn, action, resource)
        assert (after["decision"], after["note"]) == ("explicit_deny", NO_CREDENTIALS)
        explanation = after["explanation"]
        assert (explanation["blocked_by"], explanation["determining"][0]["policy"]) == ("block", block)
        assert explanation["would_have_to_be_true"] == [f"the {block} would have to be lifted"]
        can = await office.who_can(action, resource)
        assert (can[office.alice.arn]["outcome"], can[office.alice.arn]["because"]) == ("denied", [block])
        assert can[f"arn:aws:iam::{OPERATOR}:user/bob"]["outcome"] == "allowed"
    what = await office.what_can()
    assert ([grant["extent"] for grant in what["grants"]], what["roles"]) == (["denied", "denied"], [])


@pytest.mark.parametrize("subject", ["role", "principal"])
async def test_questions_about_assuming_a_role_that_is_blocked_are_denied(office: Office, subject: str) -> None:
    block = f"block by revocation {await office.revoke(subject, office.work.id)}"
    assert (await office.simulated(office.alice.arn, ASSUME, office.work.arn))["decision"] == "explicit_deny"
    can = await office.who_can(ASSUME, office.work.arn)
    assert {entry["outcome"] for entry in can.values()} == {"denied"}
    assert can[office.alice.arn]["because"] == [block]
    assert (await office.what_can())["roles"] == []
    shared = await office.server.role("shared", OPERATOR, TENANT)
    outsider = f"arn:aws:iam::{TENANT}:root"
    assert (await office.who_can(ASSUME, shared.arn))[outsider]["outcome"] == "allowed"
    await office.revoke(subject, shared.id)
    assert (await office.who_can(ASSUME, shared.arn))[outsider]["outcome"] == "denied"
    assert (await office.server.api(office.bob, "GET", "/roles/assumable")).json["roles"] == []


async def test_questions_about_a_user_whose_keys_are_disabled_say_so(office: Office) -> None:
    parameters = {"UserName": "alice", "AccessKeyId": office.key.id, "Status": "Inactive"}
    await office.server.iam(ROOT, "UpdateAccessKey", **parameters)
    found = await office.simulated(office.alice.arn, ACTION)
    assert (found["decision"], found["note"]) == ("allowed", NO_CREDENTIALS), "sessions that it has go on"
    assert (await office.who_can(ACTION))[office.alice.arn]["note"] == NO_CREDENTIALS
    assert (await office.what_can())["note"] == NO_CREDENTIALS
    await office.server.iam(ROOT, "CreateLoginProfile", UserName="alice", Password="A-long-enough-one-7")
    assert (await office.simulated(office.alice.arn, ACTION))["note"] == ""


async def test_revocations_that_block_are_listed_alone_until_they_are_lifted(office: Office) -> None:
    made = await office.revoke("principal", office.alice.id)
    await office.server.api(ROOT, "POST", "/revocations", body={"subject": "principal", "value": office.work.id})

    async def blocks() -> list[str]:
        listed = await office.server.api(ROOT, "GET", "/revocations", {"blocks": "true"})
        return [revocation["id"] for revocation in listed.json["revocations"]]

    assert await blocks() == [made]
    await office.server.api(ROOT, "POST", f"/revocations/{made}/lift", body={"reason": "back"})
    assert await blocks() == []
