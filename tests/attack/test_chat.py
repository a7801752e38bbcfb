"""Votes from a chat under attack (A140): forged, repeated, by others, for others, and where no rule allows them.

Each is refused, on the record, and changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from tests.integration.api.access import APPROVE, Place, deliver
from tests.integration.api.conftest import (
    OPERATOR,
    ROOT,
    TENANT,
    TENANT_ROOT,
    UNTOUCHED,
    Answer,
    Server,
    policy,
    server,
    untouched,
)

from daypass.domain.directory import AccessKey, InlinePolicy, KeyStatus, Membership, MfaDevice, Notification

__all__ = ["server", "untouched"]
KEY, OTHER_KEY = "8f742231b10e8888abcd99yyyzzz85a5", "0" * 32
TEAM, LEE = "T0001", "U0LEE"
PATH = f"/chat/slack/{TENANT}/ops"
ALLOWED = {"chat": {"max_risk": 50}}


class Posts:
    """The outbound port: what would have been sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    async def post(self, url: str, body: bytes, headers: Any, *, owner: str, method: str = "POST") -> bytes:
        del headers, owner, method
        self.sent.append((url, json.loads(body)))
        return b""


class HasPlace(Protocol):
    """A chat, of whichever kind."""

    place: Place


@dataclass
class Chat:
    """A Slack workspace, as Slack's servers speak to Daypass."""

    place: Place
    posts: Posts
    key: str = KEY
    times: dict[bytes, int] = field(default_factory=dict)

    async def post(self, body: bytes, *, ago: int = 0, key: str = "", path: str = PATH, **changes: str) -> Answer:
        now = self.place.server.runtime.env.clock.wall() // 1000
        at = self.times.setdefault(body, now) - ago  # the same body is the same message: Slack signed it once
        mac = hmac.new((key or self.key).encode(), b"v0:%d:" % at + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(at),
            "X-Slack-Signature": f"v0={mac}",
            **changes,
        }
        return await self.place.server.send("POST", path, "", headers, body)

    async def command(self, text: str, user: str = LEE, team: str = TEAM, **more: Any) -> Answer:
        given = {"team_id": team, "user_id": user, "user_name": "lee", "command": "/daypass", "text": text}
        return await self.post(urlencode(given).encode(), **more)

    def click(self, request: Any, user: str = LEE, team: str = TEAM, **changes: Any) -> bytes:
        payload = {
            "type": "block_actions",
            "user": {"id": user, "username": "lee", "team_id": team},
            "team": {"id": team},
            "actions": [{"action_id": "daypass_approve", "value": f"{request['id']}.{request['binding']}"}],
            "response_url": "https://hooks.slack.example/actions/1",
            **changes,
        }
        return urlencode({"payload": json.dumps(payload)}).encode()

    async def link(self, who: str, user: str, team: str = TEAM) -> Answer:
        """A chat user is linked as a person does it."""
        session = await self.place.with_mfa(who)
        made = await self.place.server.api(session, "POST", "/chat-codes", body={})
        assert made.status == 201, made.body
        return await self.command(f"link {made.json['code']}", user, team)


@pytest.fixture
async def chat(server: Server) -> Chat:  # the fixture that is imported
    return await linked(server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refusing(untouched: Server) -> Chat:
    """For messages that are all refused."""
    return await linked(untouched)


async def linked(server: Server) -> Chat:
    place, posts = Place(server), Posts()
    await place.fill(**ALLOWED)
    server.runtime.env.outbound.post = posts.post  # type: ignore[method-assign]
    await channel(place, KEY)
    made = Chat(place, posts)
    answer = await made.link("lee", LEE)
    assert "is linked with" in answer.json["text"]
    return made


async def channel(place: Place, key: str, name: str = "ops") -> None:
    body = {"kind": "slack", "target": "https://hooks.slack.example/services/1", "events": ["access.requested"]}
    query = {"account": TENANT}
    made = await place.server.api(
        ROOT, "PUT", f"/notification-channels/{name}", query, body={**body, **({"secret": key} if key else {})}
    )
    assert made.status == 200, made.body


async def state(chat: HasPlace, request: Any) -> tuple[str, int]:
    answer = await chat.place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    return answer["state"], len(answer["votes"])


async def refusals(chat: HasPlace) -> list[dict[str, Any]]:
    found = await chat.place.server.events()
    return [each for each in found if each["type"].startswith("request.") and each.get("error")]


async def ineffective(chat: Chat, request: Any, answer: Answer, text: str) -> dict[str, Any]:
    """The answer is for its sender alone, the request is as it was, and the refusal, which is returned, on the record."""
    assert (answer.status, answer.json["response_type"]) == (200, "ephemeral")
    assert text in answer.json["text"]
    assert await state(chat, request) == ("pending", 0)
    last = (await refusals(chat))[-1]
    assert last["detail"]["chat_user"].endswith(f":{TEAM}:{LEE}") or "chat_user" in last["detail"]
    return last


async def test_click_of_a_linked_approver_grants_access_and_the_record_names_the_chat_user(chat: Chat) -> None:
    request = await chat.place.request()
    assert await deliver(chat.place.server.runtime.env) == 1
    [(_, message)] = chat.posts.sent
    [approve, opens] = message["blocks"][1]["elements"]
    assert (approve["action_id"], approve["value"]) == ("daypass_approve", f"{request['id']}.{request['binding']}")
    assert opens["url"].endswith(request["id"])
    answer = await chat.post(chat.click(request))
    assert "Access is granted" in answer.json["text"]
    assert chat.posts.sent[-1][0] == "https://hooks.slack.example/actions/1"
    assert await state(chat, request) == ("approved", 1)
    [event] = [each for each in await chat.place.server.events() if each["type"] == "access.approved"]
    assert event["actor"]["arn"].endswith(":user/lee")
    assert event["detail"]["chat_user"].endswith(f":{TEAM}:{LEE}")
    assert event["detail"]["mfa"] is False
    await chat.place.assume("ann")


async def test_handled_request_is_reported_to_a_channel_that_reported_the_request(chat: Chat) -> None:
    request = await chat.place.request()
    await deliver(chat.place.server.runtime.env)
    await chat.post(chat.click(request))
    assert await deliver(chat.place.server.runtime.env) == 1
    assert chat.posts.sent[-1][1]["text"] == "A request was approved: prod, for ann"


async def test_vote_of_one_of_two_says_that_another_is_missing(chat: Chat) -> None:
    stages = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    await chat.place.rule("prod", stages=stages, **ALLOWED)
    request = await chat.place.request()
    answer = await chat.post(chat.click(request))
    assert "further approval" in answer.json["text"]
    assert await state(chat, request) == ("pending", 1)
    await channel(chat.place, "")  # nobody is told twice: the request is not handled yet


@pytest.mark.parametrize(
    "how",
    ["key", "old", "early", "body", "header", "no channel", "another account", "no account", "no number", "below"],
)
@UNTOUCHED
async def test_a140_message_that_slack_did_not_sign_now_for_the_channel_is_refused(refusing: Chat, how: str) -> None:
    request = await refusing.place.request()
    body = refusing.click(request)
    other = hmac.new(KEY.encode(), b"v0:1:" + refusing.click(request, user="U0EVE"), hashlib.sha256).hexdigest()
    changes: dict[str, dict[str, Any]] = {
        "key": {"key": OTHER_KEY},
        "old": {"ago": 301},
        "early": {"ago": -302},
        "body": {"X-Slack-Signature": f"v0={other}"},
        "header": {"X-Slack-Signature": ""},
        "no channel": {"path": f"/chat/slack/{TENANT}/none"},
        "another account": {"path": f"/chat/slack/{OPERATOR}/ops"},
        "no account": {"path": "/chat/slack/"},
        "no number": {"path": "/chat/slack/x/ops"},
        "below": {"path": f"/chat/slack/{TENANT}/ops/x"},
    }
    assert (await refusing.post(body, **changes[how])).status == 403
    assert refusing.posts.sent == []
    assert await state(refusing, request) == ("pending", 0)
    assert (await refusals(refusing))[-1]["type"] in ("request.unauthenticated", "request.denied")


async def test_a140_repeated_message_counts_once_and_is_not_answered_in_the_chat(chat: Chat) -> None:
    stages = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    await chat.place.rule("prod", stages=stages, **ALLOWED)
    request = await chat.place.request()
    body = chat.click(request)
    await chat.post(body)
    sent = len(chat.posts.sent)
    answer = await chat.post(body)
    assert "used before" in answer.json["text"]
    assert await state(chat, request) == ("pending", 1)
    assert len(chat.posts.sent) == sent
    assert (await refusals(chat))[-1]["error"] == "invalid_identity_token"


async def test_a140_refused_message_cannot_be_repeated_when_it_would_be_accepted(chat: Chat) -> None:
    await chat.place.rule("prod")
    request = await chat.place.request()
    body = chat.click(request)
    await ineffective(chat, request, await chat.post(body), "cannot be approved in a chat")
    await chat.place.rule("prod", **ALLOWED)
    await ineffective(chat, request, await chat.post(body), "used before")


@pytest.mark.parametrize("sender", [("U0EVE", TEAM), (LEE, "T0002")])
async def test_a140_user_who_is_not_linked_and_same_id_of_another_workspace_are_refused(
    chat: Chat, sender: tuple[str, str]
) -> None:
    request = await chat.place.request()
    event = await ineffective(chat, request, await chat.post(chat.click(request, *sender)), "not linked")
    assert event["account"] == TENANT
    assert event["detail"]["private"]["reason"] == "not linked"


async def test_a140_requester_cannot_approve_in_the_chat(chat: Chat) -> None:
    place = chat.place
    await chat.place.change(
        lambda tx: tx.insert(Membership(TENANT, place.groups["leads"].id, place.users["ann"].id, 1))
    )
    await chat.place.change(lambda tx: tx.insert(_inline(place)))
    await chat.link("ann", "U0ANN")
    request = await place.request()
    await ineffective(chat, request, await chat.post(chat.click(request, "U0ANN")), "own access request")


def _inline(place: Place) -> Any:
    return InlinePolicy(TENANT, place.users["ann"].id, "q", policy("daypass:ApproveAccessRequest"), 1)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"chat": {"max_risk": 0}},
        {
            "stages": [
                {"name": "chat", "approvers": {"principals": ["group/engineers"]}},
                {"name": "lead", "approvers": {"principals": ["group/leads"]}, "mfa_seconds": 300},
            ],
            **ALLOWED,
        },
        {
            "stages": [
                {"name": "chat", "approvers": {"principals": ["group/engineers"]}},
                {"name": "lead", "approvers": {"principals": ["group/leads"]}, "step_up": True},
            ],
            **ALLOWED,
        },
    ],
    ids=["not allowed", "risk over the limit", "stage takes recent MFA", "stage takes step-up"],
)
async def test_a140_vote_that_the_rule_does_not_allow_from_a_chat_is_refused(chat: Chat, rule: dict[str, Any]) -> None:
    await chat.place.rule("prod", **rule)
    request = await chat.place.request()
    assert request["risk"] > 0
    answer = await chat.post(chat.click(request))
    await ineffective(chat, request, answer, "MFA" if "stages" in rule else "cannot be approved in a chat")
    await deliver(chat.place.server.runtime.env)
    [message] = [body for _, body in chat.posts.sent if "blocks" in body]
    assert ("daypass_approve" in json.dumps(message)) == (
        "stages" in rule
    )  # a rule that allows no vote shows no button


async def test_a140_vote_on_what_has_changed_since_the_message_is_refused(chat: Chat) -> None:
    request = await chat.place.request()
    body = chat.click(request)
    await chat.place.change(lambda tx: tx.replace(replace(chat.place.roles["prod"], max_session_seconds=7200)))
    await ineffective(chat, request, await chat.post(body), "changed since you read it")


@pytest.mark.parametrize("how", ["disabled", "offboarded", "blocked"])
async def test_a140_approver_who_may_not_sign_in_cannot_vote_in_the_chat(chat: Chat, how: str) -> None:
    place = chat.place
    request = await place.request()
    user = place.users["lee"]
    if how == "disabled":
        key = place.keys["lee"].id
        await chat.place.change(lambda tx: tx.replace(replace(tx.get(AccessKey, id=key), status=KeyStatus.INACTIVE)))
    elif how == "offboarded":
        done = await place.server.api(
            ROOT, "POST", "/offboardings", body={"user": "lee", "account": TENANT, "reason": "left"}
        )
        assert done.status < 300, done.body
    else:
        body = {"subject": "principal", "value": user.id, "block": True, "reason": "lost", "account": TENANT}
        done = await place.server.api(ROOT, "POST", "/revocations", body=body)
        assert done.status < 300, done.body
    await ineffective(chat, request, await chat.post(chat.click(request)), "not linked")


async def test_a140_approver_whose_policy_denies_everything_votes_and_links_nothing_in_the_chat(chat: Chat) -> None:
    place = chat.place
    request = await place.request()
    session = await place.with_mfa("lee")
    code = (await place.server.api(session, "POST", "/chat-codes", body={})).json["code"]
    deny = policy("*", effect="Deny")
    await chat.place.change(lambda tx: tx.insert(InlinePolicy(TENANT, place.users["lee"].id, "no", deny, 0)))
    refused = await ineffective(chat, request, await chat.post(chat.click(request)), "not authorized")
    assert refused["error"] == "access_denied"
    assert "is linked" not in (await chat.command(f"link {code}", "U0OTHER")).json["text"]
    assert (await refusals(chat))[-1]["operation"] == "daypass:LinkChatUser"


async def test_a140_who_replaces_the_key_of_a_channel_speaks_for_nobody(chat: Chat) -> None:
    await channel(chat.place, OTHER_KEY)
    request = await chat.place.request()
    await ineffective(chat, request, await chat.post(chat.click(request), key=OTHER_KEY), "not linked")


async def test_a140_code_works_once_for_its_maker_and_not_without_mfa(chat: Chat) -> None:
    place = chat.place
    plain = await place.server.api(place.keys["lou"], "POST", "/chat-codes", body={})
    assert (plain.status, plain.code) == (403, "AccessDenied")
    session = await place.with_mfa("lou")
    code = (await place.server.api(session, "POST", "/chat-codes", body={})).json["code"]
    assert "is linked with" in (await chat.command(f"link {code}", "U0LOU")).json["text"]
    assert "used before" in (await chat.command(f"link {code}", "U0EVE")).json["text"]
    assert "not valid" in (await chat.command(f"link {code[:-4]}AAAA", "U0EVE")).json["text"]
    other = await place.server.api(session, "POST", "/chat-codes", body={})
    assert "linked already" in (await chat.command(f"link {other.json['code']}")).json["text"]  # it is lee's
    assert code not in json.dumps(await place.server.events())
    listed = (await place.server.api(session, "GET", "/chat-users")).json["chat_users"]
    assert [each["id"].rpartition(":")[2] for each in listed] == ["U0LOU"]
    gone = await place.server.api(place.keys["lou"], "DELETE", f"/chat-users/{listed[0]['id']}")
    assert gone.status == 204
    request = await place.request()
    await ineffective(chat, request, await chat.post(chat.click(request, "U0LOU")), "not linked")


async def test_a140_link_of_another_user_cannot_be_removed_without_permission(chat: Chat) -> None:
    place = chat.place
    [link] = (await place.ask("lee", "/chat-users", method="GET"))["chat_users"]
    assert (await place.refused("eve", f"/chat-users/{link['id']}", method="DELETE"))[0] == 404
    answer = await place.server.api(place.keys["eve"], "DELETE", f"/chat-users/{link['id']}", {"user": "lee"})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    query = {"user": "lee", "account": TENANT}
    assert (await place.server.api(ROOT, "DELETE", f"/chat-users/{link['id']}", query)).status == 204


async def test_a295_chat_user_of_a_deleted_user_can_be_linked_again(chat: Chat) -> None:
    place = chat.place
    await place.person("max", APPROVE, "leads")
    await chat.link("max", "U0MAX")
    user = place.users["max"]
    await place.change(
        lambda tx: [tx.delete(each) for each in tx.find(Membership, account=TENANT, user_id=user.id)],
        lambda tx: [tx.delete(each) for each in tx.find(InlinePolicy, account=TENANT, owner_id=user.id)],
        lambda tx: [tx.delete(each) for each in tx.find(MfaDevice, account=TENANT, owner_id=user.id)],
        lambda tx: [tx.delete(each) for each in tx.find(AccessKey, account=TENANT, owner_id=user.id)],
    )
    await place.server.iam(TENANT_ROOT, "DeleteUser", UserName="max")
    await place.person("max", APPROVE, "leads")
    assert "is linked with" in (await chat.link("max", "U0MAX")).json["text"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=x",
        b"payload=%7B%7D",
        b"payload=[]",
        b"payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%7D%2C%22actions%22%3A%5B1%5D%7D",
        b"payload=1&payload=2",
        b"team_id=T1&user_id=%00",
        b"payload=" + b"%5B" * 5000,
        b"payload=%FF",
    ],
)
@UNTOUCHED
async def test_a140_signed_message_that_cannot_be_read_is_refused(refusing: Chat, body: bytes) -> None:
    answer = await refusing.post(body)
    assert answer.status == 400
    assert answer.code


async def test_a140_answer_goes_to_no_other_host_than_the_channels(chat: Chat) -> None:
    request = await chat.place.request()
    for url in ("https://evil.example/x", "http://169.254.169.254/", "https://hooks.slack.example@evil.example/", "x"):
        await chat.post(chat.click(request, user="U0EVE", response_url=url))
    assert chat.posts.sent == []


async def test_other_button_and_other_command_change_nothing(chat: Chat) -> None:
    request = await chat.place.request()
    opened = chat.click(request, actions=[{"action_id": "daypass_open"}])
    assert (await chat.post(opened)).body == b""
    assert "link CODE" in (await chat.command("help")).json["text"]
    assert await state(chat, request) == ("pending", 0)


async def test_signing_secret_of_a_channel_is_not_shown(chat: Chat) -> None:
    listed = await chat.place.operator("GET", "/notification-channels")
    assert KEY.encode() not in listed.body
    assert KEY not in json.dumps(await chat.place.server.events())
    await chat.place.request()
    await deliver(chat.place.server.runtime.env)
    env = chat.place.server.runtime.env
    stored = await env.directory.read(lambda tx: tx.find(Notification, account=TENANT), account="")
    assert all(KEY not in each.document for each in stored)
