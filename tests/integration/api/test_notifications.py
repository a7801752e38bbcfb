"""Notifications, ticket checks, escalation and risk of access requests, with a receiver on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.integration.api.access import APPROVE, Place, deliver
from tests.integration.api.conftest import ROOT, TENANT, Answer, Server

from daypass.domain.directory import AccessRequest, Grant, Notification, NotificationChannel
from daypass.domain.events import Event, EventType
from daypass.operations.access_requests.follow import sweep
from daypass.operations.notifications import signature
from daypass.ports import OutboundFailed, Tx
from daypass.wire.front import Front
from daypass.wire.routes import RouteSettings, routes


@dataclass
class Receiver:
    url: str = ""
    status: int = 200
    answer: bytes = b'{"open":true}'
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.status)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(made.answer)))
            self.end_headers()
            self.wfile.write(made.answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
async def place(server: Server) -> Place:
    server.runtime.env.outbound._private_hosts = frozenset({"127.0.0.1"})  # type: ignore[attr-defined]
    made = Place(server)
    await made.fill()
    return made


async def channel(place: Place, receiver: Receiver, kind: str = "webhook", *events: str) -> dict[str, Any]:
    body = {"kind": kind, "target": receiver.url, "events": list(events or ("access.requested", "access.approved"))}
    made = await place.operator("PUT", "/notification-channels/ops", body)
    assert made.status == 200, made.body
    return dict(made.json)


async def log(place: Place, outcome: str = "") -> list[dict[str, Any]]:
    query = {"account": TENANT, "outcome": outcome}
    return list((await place.server.api(ROOT, "GET", "/notifications", query)).json["notifications"])


async def later(place: Place, kind: type[Any], **changes: Any) -> None:
    """Changes every entity of a kind, as if time had passed."""

    def run(tx: Tx) -> tuple[None, Event]:
        for each in tx.find(kind):
            tx.replace(replace(each, **changes))
        return None, Event(EventType.DIRECTORY_CHANGED, place.now, account=TENANT)

    await place.server.runtime.env.journal.write(run)


async def test_webhook_of_a_request_is_signed_and_says_what_happened(place: Place, receiver: Receiver) -> None:
    secret = (await channel(place, receiver))["secret"]
    request = await place.request()
    assert await deliver(place.server.runtime.env) == 1
    [(headers, body)] = receiver.got
    sent = json.loads(body)
    assert (sent["type"], sent["detail"]["request"], sent["detail"]["reason"]) == (
        "access.requested",
        request["id"],
        "Incident 42: orders are not written",
    )
    assert sent["link"].endswith(f"/console/access-request?id={request['id']}")
    paths = {row.path for row in routes(Front(place.server.runtime.env), place.server.runtime, RouteSettings()).rows}
    assert "/console/access-request" in paths
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = signature(key, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected["webhook-signature"]
    [logged] = await log(place)
    assert (logged["outcome"], logged["attempts"]) == ("delivered", 1)
    assert await deliver(place.server.runtime.env) == 0


async def test_notification_that_fails_is_repeated_then_dead_then_retried(place: Place, receiver: Receiver) -> None:
    await channel(place, receiver)
    receiver.status = 500
    await place.request()
    env = place.server.runtime.env
    for attempt in range(1, 8):
        assert await deliver(env) == 1
        assert await deliver(env) == 0
        [logged] = await log(place)
        assert logged["attempts"] == attempt
        assert logged["error"] == "the answer has the status 500"
        await later(place, Notification, next_at=0)
    [dead] = await log(place, "dead")
    assert await deliver(env) == 0
    receiver.status = 204
    receiver.answer = b""
    again = await place.operator("POST", f"/notifications/{dead['id']}/retry")
    assert again.status == 200
    assert await deliver(env) == 1
    assert len(await log(place, "delivered")) == 1


async def test_notification_that_waits_for_its_next_attempt_is_retried_at_once(
    place: Place, receiver: Receiver
) -> None:
    await channel(place, receiver)
    await place.request()
    env = place.server.runtime.env
    [new] = await log(place)
    path, owner = f"/notifications/{new['id']}/retry", {"account": TENANT}
    assert (await place.server.api(ROOT, "POST", path, owner)).status == 404, "its first attempt may be under way"
    receiver.status = 500
    assert await deliver(env) == 1
    assert await deliver(env) == 0
    receiver.status = 204
    receiver.answer = b""
    assert (await place.server.api(ROOT, "POST", path, owner)).status == 200
    assert await deliver(env) == 1
    [delivered] = await log(place, "delivered")
    assert (await place.server.api(ROOT, "POST", path, owner)).status == 404
    assert delivered["error"] == ""


async def test_channel_test_and_slack_and_teams_shapes_are_delivered(place: Place, receiver: Receiver) -> None:
    env = place.server.runtime.env
    for kind, member in (("slack", "blocks"), ("teams", "attachments")):
        assert not (await channel(place, receiver, kind))["secret"]
        sent = await place.operator("POST", "/notification-channels/ops/test")
        assert sent.status == 202
        assert await deliver(env) == 1
        assert member in json.loads(receiver.got[-1][1])


async def test_email_without_a_server_is_not_delivered_and_says_why(place: Place) -> None:
    body = {"kind": "email", "target": "ops@example.com", "events": ["access.requested"]}
    await place.operator("PUT", "/notification-channels/ops", body)
    await place.request()
    assert await deliver(place.server.runtime.env) == 1
    [logged] = await log(place)
    assert "no SMTP server" in logged["error"]


@pytest.mark.parametrize("target", ["http://127.0.0.2:9/", "http://169.254.169.254/latest/", "https://localhost/"])
async def test_webhook_to_a_forbidden_address_is_not_sent(place: Place, receiver: Receiver, target: str) -> None:
    """Addresses are checked when they are written, too, but the operator can have changed access.private_hosts since."""
    await channel(place, receiver)
    await later(place, NotificationChannel, target=target)
    await place.request()
    assert await deliver(place.server.runtime.env) == 1
    [logged] = await log(place)
    assert logged["error"].startswith(("the host ", "not an https URL"))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "webhook", "target": "ftp://x"},
        {"kind": "email", "target": "x"},
        {"events": ["session.issued"]},
        {"secret": "whsec_AAAA"},
        {"secret": "whsec_ä"},
        {"target": "https://[x"},
        {"target": "https://x.example/a b"},
        {"target": "https://x.example/\n"},
    ],
)
async def test_channel_that_is_not_valid_is_refused(place: Place, changes: dict[str, Any]) -> None:
    body = {"kind": "webhook", "target": "https://x.example/", "events": ["access.requested"], **changes}
    made = await place.operator("PUT", "/notification-channels/ops", body)
    assert made.status == 400


async def test_slack_channel_with_a_malformed_secret_names_the_form(place: Place) -> None:
    body = {
        "kind": "slack",
        "target": "https://x.example/",
        "events": ["access.requested"],
        "secret": "with-hyphens" * 4,
    }
    made = await place.operator("PUT", "/notification-channels/ops", body)
    assert b"32 to 64 letters and digits" in made.body


async def test_old_notifications_are_forgotten_whether_or_not_they_were_delivered(
    place: Place, receiver: Receiver
) -> None:
    await channel(place, receiver)
    for outcome in ("delivered", "dead"):
        await place.request(reason=f"an incident, {outcome}")
        await later(place, Notification, outcome=outcome, created_at=1, next_at=1)
    await place.request()
    await deliver(place.server.runtime.env)
    assert [each["outcome"] for each in await log(place)] == ["delivered"]


async def test_secret_of_a_channel_is_nowhere_but_in_the_answer(place: Place, receiver: Receiver) -> None:
    secret = (await channel(place, receiver))["secret"]
    assert secret not in json.dumps(await place.server.events())
    listed = await place.operator("GET", "/notification-channels")
    assert secret.encode() not in listed.body


async def test_ticket_is_checked_by_the_webhook_and_refused_unless_it_says_yes(
    place: Place, receiver: Receiver
) -> None:
    await place.rule("prod", ticket={"patterns": ["INC-*"], "webhook": receiver.url})
    await place.request(ticket="INC-1")
    assert json.loads(receiver.got[0][1])["ticket"] == "INC-1"
    for answer, status in (
        (b'{"open":false}', 200),
        (b"yes", 200),
        (b'{"open":"true"}', 200),
        (b"[" * 100_000, 200),
        (b'{"open":true}', 503),
    ):
        receiver.answer, receiver.status = answer, status
        refused = await place.refused("ann", "/access-requests", place.wanted(ticket="INC-2"))
        assert refused[0] == 400


async def test_emergency_does_not_wait_for_the_ticket_system_and_is_announced(place: Place, receiver: Receiver) -> None:
    await place.rule(
        "prod",
        ticket={"required": False, "webhook": "https://tickets.invalid/"},
        break_glass={"people": {"principals": ["user/ann"]}, "mfa_seconds": None},
    )
    await channel(place, receiver, "webhook", "access.emergency")
    wanted = place.wanted(break_glass=True, confirmation="prod", ticket="INC-1")
    assert (await place.ask("ann", "/access-requests", wanted))["state"] == "approved"
    assert await deliver(place.server.runtime.env) == 1


async def test_request_without_an_answer_escalates_to_further_approvers(place: Place, receiver: Receiver) -> None:
    await place.rule("prod", escalation={"after_seconds": 60, "approvers": {"principals": ["user/boss"]}})
    await place.person("boss", APPROVE)
    await channel(place, receiver, "webhook", "access.escalated")
    request = await place.request()
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    assert (await place.refused("boss", path, body))[0] == 403
    await sweep(place.server.runtime.env)
    assert await deliver(place.server.runtime.env) == 0
    await later(place, AccessRequest, created_at=place.now - 61_000)
    await sweep(place.server.runtime.env)
    assert await deliver(place.server.runtime.env) == 1
    assert (await place.ask("boss", path, body))["state"] == "approved"
    await place.assume("ann")


async def test_end_of_a_grant_is_announced_once(place: Place, receiver: Receiver) -> None:
    await channel(place, receiver, "webhook", "access.ending")
    await place.granted()
    await place.assume("ann")
    await sweep(place.server.runtime.env)
    await later(place, Grant, ends_at=place.now + 200_000)
    for _ in range(2):
        await sweep(place.server.runtime.env)
    assert await deliver(place.server.runtime.env) == 1


async def test_risk_is_on_the_request_with_reasons_and_decides_by_a_condition(place: Place) -> None:
    low = {"NumericLessThan": {"daypass:RiskScore": "10"}}
    await place.rule("prod", automatic=[{"name": "low", "condition": low}])
    first = await place.request()
    assert first["state"] == "pending"
    assert {reason["feature"] for reason in first["risk_reasons"]} >= {"first_time", "new_key"}
    assert first["risk"] == round(sum(reason["weight"] * reason["value"] for reason in first["risk_reasons"]))
    await place.rule(
        "prod", automatic=[{"name": "any", "condition": {"NumericLessThan": {"daypass:RiskScore": "101"}}}]
    )
    assert (await place.request())["state"] == "approved"


async def test_person_on_call_is_granted_by_an_automatic_rule_and_others_are_not(place: Place) -> None:
    class OnCall:
        async def on_call(self, kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
            if source != "ops.ics":
                raise OutboundFailed("no such file")
            return frozenset({"ann"})

    place.server.runtime.env.schedules.on_call = OnCall().on_call  # type: ignore[method-assign]
    automatic = [{"name": "on call", "condition": {"Bool": {"daypass:OnCall": "true"}}}]
    await place.rule("prod", on_call={"calendar": "ops.ics"}, automatic=automatic)
    assert (await place.request("eve"))["state"] == "pending"
    assert (await place.request("ann"))["state"] == "approved"
    await place.assume("ann")
    await place.rule("prod", on_call={"calendar": "gone.ics"}, automatic=automatic)
    assert (await place.request("ann"))["state"] == "pending"


async def test_people_on_call_are_shown_to_those_who_may_see_them(place: Place) -> None:
    class OnCall:
        async def on_call(self, kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
            if source != "ops.ics":
                raise OutboundFailed("connection refused by 10.0.0.7")
            return frozenset({"lee", "ann"})

    place.server.runtime.env.schedules.on_call = OnCall().on_call  # type: ignore[method-assign]

    async def ask(name: str = "prod") -> Answer:
        return await place.operator("GET", f"/approval-rules/{name}/on-call")

    answer = await ask()
    assert (answer.status, "has no schedule" in str(answer.json)) == (404, True)
    assert (await ask("nothing")).status == 404
    await place.rule("prod", on_call={"calendar": "ops.ics"})
    assert (await ask()).json["people"] == ["ann", "lee"]
    assert (await place.refused("eve", "/approval-rules/prod/on-call", method="GET"))[0] == 403
    await place.rule("prod", on_call={"calendar": "gone.ics"})
    answer = await ask()
    assert (answer.status, "10.0.0.7" in str(answer.json)) == (400, False)
    recorded = [event for event in await place.server.events() if event.get("operation") == "daypass:GetOnCall"]
    assert [event.get("error") for event in recorded] == ["not_found", "not_found", None, "access_denied", "validation"]
    assert recorded[-1]["detail"]["private"]["fault"] == "connection refused by 10.0.0.7"
