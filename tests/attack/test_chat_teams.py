"""Votes from Teams under attack (A198): forged, old and repeated messages, other tenants, other people's codes.

The messages have the form of an outgoing webhook's. Each attack is refused, on the record, and changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from tests.attack.test_chat import ALLOWED, Posts, refusals, state
from tests.integration.api.access import Place, deliver
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, UNTOUCHED, Answer, Server, server, untouched

__all__ = ["server", "untouched"]
TOKEN = base64.b64encode(bytes(range(32))).decode()
OTHER_TOKEN = base64.b64encode(bytes(32)).decode()
PATH = f"/chat/teams/{TENANT}/ops"
CONTOSO, FABRIKAM = "72f988bf-86f1-41af-91ab-2d7cd011db47", "9188040d-6c67-4c5b-b112-36a304b66dad"
LEE, ANN, EVE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1a3")


@dataclass
class Teams:
    """A channel of Teams with an outgoing webhook, as Teams' servers speak to Daypass."""

    place: Place
    posts: Posts = field(default_factory=Posts)
    messages: int = 0
    sessions: dict[str, Any] = field(default_factory=dict)

    def message(self, said: str, user: str = LEE, tenant: str = CONTOSO, *, ago: int = 0, **changes: Any) -> bytes:
        self.messages += 1
        sent = self.place.server.runtime.env.clock.wall() / 1000 - ago
        stamp = datetime.fromtimestamp(sent, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + "2669262Z"
        activity = {
            "type": "message",
            "id": str(1_700_000_000_000 + self.messages),
            "timestamp": stamp,
            "localTimestamp": stamp.replace("Z", "+00:00"),
            "serviceUrl": "https://smba.trafficmanager.net/emea/",
            "channelId": "msteams",
            "from": {"id": f"29:1{user}", "name": "Lee <b>Moe</b>", "aadObjectId": user},
            "conversation": {
                "isGroup": True,
                "id": "19:253b1f34@thread.tacv2;messageid=1700000000000",
                "name": None,
                "conversationType": "channel",
                "tenantId": tenant,
            },
            "recipient": None,
            "textFormat": "plain",
            "attachmentLayout": None,
            "text": f"<at>Daypass</at> {said}\n",
            "attachments": [{"contentType": "text/html", "content": f"<div><span>Daypass</span>&nbsp;{said}</div>"}],
            "entities": [{"type": "clientInfo", "locale": "en-US", "country": "US", "platform": "Web"}],
            "channelData": {
                "teamsChannelId": "19:253b1f34@thread.tacv2",
                "teamsTeamId": "19:712c61d0@thread.tacv2",
                "channel": {"id": "19:253b1f34@thread.tacv2"},
                "team": {"id": "19:712c61d0@thread.tacv2"},
                "tenant": {"id": tenant},
            },
            "locale": "en-US",
            **changes,
        }
        return json.dumps(activity, ensure_ascii=False).encode()

    async def post(self, body: bytes, token: str = TOKEN, authorization: str | None = None, path: str = PATH) -> Answer:
        mac = hmac.new(base64.b64decode(token), body, hashlib.sha256).digest()
        value = f"HMAC {base64.b64encode(mac).decode()}" if authorization is None else authorization
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": value}
        return await self.place.server.send("POST", path, "", headers, body)

    async def say(self, text: str, user: str = LEE, tenant: str = CONTOSO, **more: Any) -> str:
        """The text of the answer in the channel."""
        answer = await self.post(self.message(text, user, tenant, **more))
        assert answer.status == 200, answer.body
        assert answer.json["type"] == "message"
        assert answer.json["textFormat"] == "plain"
        return str(answer.json["text"])

    async def code(self, who: str, chat_user: str) -> str:
        if who not in self.sessions:
            self.sessions[who] = await self.place.with_mfa(who)
        made = await self.place.server.api(self.sessions[who], "POST", "/chat-codes", body={"chat_user": chat_user})
        assert made.status == 201, made.body
        return str(made.json["code"])

    async def chat_user(self, user: str = LEE, tenant: str = CONTOSO) -> str:
        """The webhook's answer to `link`."""
        text = await self.say("link", user, tenant)
        return text.removeprefix("Your chat user is ").partition(". ")[0]

    async def link(self, who: str, user: str = LEE, tenant: str = CONTOSO) -> str:
        return await self.say(f"link {await self.code(who, await self.chat_user(user, tenant))}", user, tenant)


@pytest.fixture
async def teams(server: Server) -> Teams:
    return await linked(server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refusing(untouched: Server) -> Teams:
    """For messages and calls that are all refused."""
    return await linked(untouched)


async def linked(server: Server) -> Teams:
    place = Place(server)
    await place.fill(**ALLOWED)
    made = Teams(place)
    server.runtime.env.outbound.post = made.posts.post  # type: ignore[method-assign]
    await channel(place, TOKEN)
    assert "is linked with" in await made.link("lee")
    return made


async def channel(place: Place, secret: str) -> Answer:
    body = {"kind": "teams", "target": "https://contoso.example/webhook/1", "events": ["access.requested"]}
    query = {"account": TENANT}
    return await place.server.api(
        ROOT, "PUT", "/notification-channels/ops", query, body={**body, **({"secret": secret} if secret else {})}
    )


def vote(request: Any) -> str:
    return f"approve {request['id']}.{request['binding']}"


async def test_line_of_the_card_from_a_linked_approver_grants_access_and_the_record_names_the_chat_user(
    teams: Teams,
) -> None:
    request = await teams.place.request()
    assert await deliver(teams.place.server.runtime.env) == 1
    [(_, message)] = teams.posts.sent
    texts = [each.get("text") for each in message["attachments"][0]["content"]["body"]]
    assert vote(request) in texts
    assert "Access is granted" in await teams.say(vote(request))
    assert await state(teams, request) == ("approved", 1)
    [event] = [each for each in await teams.place.server.events() if each["type"] == "access.approved"]
    assert event["actor"]["arn"].endswith(":user/lee")
    assert event["detail"]["chat_user"].endswith(f":{CONTOSO}:{LEE}")
    assert event["detail"]["mfa"] is False
    await teams.place.assume("ann")


@pytest.mark.parametrize("kind", ["without a token", "rule without chat"])
async def test_card_shows_no_line_to_approve_where_no_vote_is_taken(teams: Teams, kind: str) -> None:
    if kind == "without a token":
        await channel(teams.place, "")
    else:
        await teams.place.rule("prod")
    await teams.place.request()
    await deliver(teams.place.server.runtime.env)
    assert "approve " not in json.dumps(teams.posts.sent)


@pytest.mark.parametrize(
    "form", ["{}", "<p>{}</p>", "&nbsp;{}&nbsp;", '<at id="0">Ops Bot</at>\u00a0{}', "\n<code>{}</code>"]
)
async def test_vote_is_read_in_each_form_that_teams_gives_to_text(teams: Teams, form: str) -> None:
    request = await teams.place.request()
    line = vote(request)
    body = teams.message("", text="<at>Daypass</at>" + form.format(line[0].upper() + line[1:]))
    assert "Access is granted" in (await teams.post(body)).json["text"]


@pytest.mark.parametrize("text", ["please {}", "{} now", "<at>Daypass</at> > {} no", "approve", "help", "", "link a b"])
@UNTOUCHED
async def test_a198_text_that_only_contains_a_vote_is_no_vote(refusing: Teams, text: str) -> None:
    request = await refusing.place.request()
    assert "Send `link`" in await refusing.say(text.format(vote(request)))
    assert await state(refusing, request) == ("pending", 0)


@pytest.mark.parametrize(
    "how",
    ["token", "old", "early", "body", "none", "bearer", "two parts", "url alphabet", "channel", "slack", "account"],
)
@UNTOUCHED
async def test_a198_message_that_teams_did_not_sign_now_is_refused(refusing: Teams, how: str) -> None:
    request = await refusing.place.request()
    body = refusing.message(vote(request), ago={"old": 302, "early": -302}.get(how, 0))
    right = base64.b64encode(hmac.new(base64.b64decode(TOKEN), body, hashlib.sha256).digest()).decode()
    given = {
        "none": "",
        "bearer": f"Bearer {right}",
        "two parts": f"HMAC {right} {right}",
        "url alphabet": f"HMAC {right[:-1]}-=",
        "body": "HMAC "
        + base64.b64encode(hmac.new(base64.b64decode(TOKEN), body + b" ", hashlib.sha256).digest()).decode(),
    }
    paths = {
        "channel": f"/chat/teams/{TENANT}/none",
        "slack": f"/chat/slack/{TENANT}/ops",
        "account": f"/chat/teams/{OPERATOR}/ops",
    }
    answer = await refusing.post(body, OTHER_TOKEN if how == "token" else TOKEN, given.get(how), paths.get(how, PATH))
    assert answer.status == 403
    assert await state(refusing, request) == ("pending", 0)
    assert (await refusals(refusing))[-1]["type"] in ("request.unauthenticated", "request.denied")


async def test_a198_repeated_message_counts_once(teams: Teams) -> None:
    stages = [{"approvers": {"principals": ["group/leads"]}, "threshold": 2}]
    await teams.place.rule("prod", stages=stages, **ALLOWED)
    request = await teams.place.request()
    body = teams.message(vote(request))
    assert "further approval" in (await teams.post(body)).json["text"]
    assert "used before" in (await teams.post(body)).json["text"]
    assert await state(teams, request) == ("pending", 1)


@pytest.mark.parametrize("sender", [(EVE, CONTOSO), (LEE, FABRIKAM)])
@UNTOUCHED
async def test_a198_user_who_is_not_linked_and_same_id_of_another_tenant_are_refused(
    refusing: Teams, sender: tuple[str, str]
) -> None:
    request = await refusing.place.request()
    assert "not linked" in await refusing.say(vote(request), *sender)
    assert await state(refusing, request) == ("pending", 0)
    event = (await refusals(refusing))[-1]
    assert event["account"] == TENANT
    assert event["detail"]["private"]["reason"] == "not linked"


async def test_a198_code_that_the_channel_could_read_links_nobody_else(teams: Teams) -> None:
    code = await teams.code("lou", await teams.chat_user(ANN))
    assert "not made for this chat user" in await teams.say(f"link {code}", EVE)
    assert (await refusals(teams))[-1]["detail"]["private"]["reason"] == "chat code for another chat user"
    assert ":user/lou" in await teams.say(f"link {code}", ANN)
    session = teams.sessions["lou"]
    unbound = (await teams.place.server.api(session, "POST", "/chat-codes", body={})).json["code"]
    assert "not made for this chat user" in await teams.say(f"link {unbound}", EVE)
    other_key = (await teams.chat_user(EVE)).replace("teams:", "slack:")
    assert "not made for this chat user" in await teams.say(f"link {await teams.code('lou', other_key)}", EVE)
    listed = (await teams.place.server.api(session, "GET", "/chat-users")).json["chat_users"]
    assert [each["id"].rpartition(":")[2] for each in listed] == [ANN]


@pytest.mark.parametrize(
    "chat_user", ["x", "teams:zz:a:b", "irc:0123456789abcdef:aa:bb", "teams:0123456789abcdef:aa:bb\n"]
)
@UNTOUCHED
async def test_create_chat_code_for_what_is_no_chat_user_is_refused(refusing: Teams, chat_user: str) -> None:
    session = refusing.sessions["lee"]
    made = await refusing.place.server.api(session, "POST", "/chat-codes", body={"chat_user": chat_user})
    assert (made.status, made.code) == (400, "ValidationError")


async def test_a198_who_replaces_the_token_of_a_channel_speaks_for_nobody(teams: Teams) -> None:
    assert (await channel(teams.place, OTHER_TOKEN)).status == 200
    request = await teams.place.request()
    answer = await teams.post(teams.message(vote(request)), OTHER_TOKEN)
    assert "not linked" in answer.json["text"]
    assert await state(teams, request) == ("pending", 0)


async def test_a198_vote_above_the_risk_and_on_what_has_changed_is_refused(teams: Teams) -> None:
    request = await teams.place.request()
    await teams.place.rule("prod", chat={"max_risk": 0})
    assert "has changed since" in await teams.say(vote(request))
    again = await teams.place.request(reason="Incident 42 again, under the new rule")
    assert "cannot be approved in a chat" in await teams.say(vote(again))
    assert await state(teams, again) == ("pending", 0)


UNREADABLE: dict[str, dict[str, Any]] = {
    "another type": {"type": "conversationUpdate"},
    "nobody": {"from": None},
    "sender without an id": {"from": {"id": "29:1", "name": "Lee"}},
    "list as an id": {"from": {"aadObjectId": [LEE]}},
    "id with a line end": {"from": {"aadObjectId": f"{LEE}\n"}},
    "no time": {"timestamp": None},
    "month 13": {"timestamp": "2026-13-01T00:00:00Z"},
    "wide digits": {"timestamp": "２０26-01-01T00:00:00Z"},
    "two tenants": {"channelData": {"tenant": {"id": FABRIKAM}}},
    "no tenant": {"channelData": {}},
    "text as a conversation": {"conversation": "x"},
    "number as text": {"text": 1},
    "long text": {"text": "x" * 4097},
    "vote without a binding": {"text": "<at>Daypass</at> approve 1.2"},
}
_WRONG: tuple[object, ...] = ([], {}, [CONTOSO], 7, "", "x")
for _wrong in _WRONG:
    for _member in ("from", "timestamp"):
        UNREADABLE[f"{_member} is {_wrong!r}"] = {_member: _wrong}
    UNREADABLE[f"tenant is {_wrong!r}"] = {"channelData": {"tenant": {"id": _wrong}}}
    UNREADABLE[f"conversation's tenant is {_wrong!r}"] = {"conversation": {"tenantId": _wrong}}


@pytest.mark.parametrize("what", UNREADABLE)
@UNTOUCHED
async def test_a198_signed_message_that_cannot_be_read_is_refused_on_the_record(refusing: Teams, what: str) -> None:
    request = await refusing.place.request()
    answer = await refusing.post(refusing.message(vote(request), **UNREADABLE[what]))
    assert answer.status == 400
    assert b"cannot be read" in answer.body
    assert await state(refusing, request) == ("pending", 0)
    event = (await refusals(refusing))[-1]
    assert (event["account"], event["error"]) == (TENANT, "malformed_request")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"type":"message","type":"message"}', b"\xff", b"[" * 5000])
@UNTOUCHED
async def test_a198_signed_body_that_is_not_an_activity_is_refused(refusing: Teams, body: bytes) -> None:
    assert (await refusing.post(body)).status == 400


async def test_a198_hostile_name_is_shown_as_text_and_the_token_is_not_shown(teams: Teams) -> None:
    [link] = (await teams.place.ask("lee", "/chat-users", method="GET"))["chat_users"]
    assert link["name"] == "Lee <b>Moe</b>"
    listed = await teams.place.operator("GET", "/notification-channels")
    assert TOKEN.encode() not in listed.body
    assert TOKEN not in json.dumps(await teams.place.server.events())


@pytest.mark.parametrize("secret", ["x", "whsec_AAAA", base64.b64encode(bytes(31)).decode(), TOKEN[:-1]])
@UNTOUCHED
async def test_put_channel_with_what_is_no_security_token_is_refused(refusing: Teams, secret: str) -> None:
    assert (await channel(refusing.place, secret)).status == 400
