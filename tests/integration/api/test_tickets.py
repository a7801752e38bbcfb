"""Tickets in Jira and ServiceNow: opened with the grant, closed with it, once, with text that is never markup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from tests.integration.api.access import Place, deliver, own_place
from tests.integration.api.conftest import ROOT, TENANT, UNTOUCHED, Server
from tests.ticket_systems import TOKEN, USER, Jira, ServiceNow, TicketSystem, serving

from daypass.domain.directory import Notification
from daypass.domain.events import Event, EventType
from daypass.operations.tickets import EVENTS
from daypass.ports import Tx

pytestmark = UNTOUCHED
TARGETS = {"jira": "{}?project=OPS&type=Task", "servicenow": "{}?table=incident"}
MAKERS: dict[str, type[TicketSystem]] = {"jira": Jira, "servicenow": ServiceNow}


@pytest.fixture(params=["jira", "servicenow"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def system(kind: str) -> Iterator[TicketSystem]:
    with serving(MAKERS[kind]()) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def place(shared: Server, system: TicketSystem, kind: str) -> Place:
    shared.runtime.env.outbound._private_hosts = frozenset({"127.0.0.1"})  # type: ignore[attr-defined]
    made = await own_place(shared)
    target = TARGETS[kind].format(system.url)
    body = {"kind": kind, "target": target, "events": ["access.requested"], "secret": f"{USER}:{TOKEN}"}
    answer = await made.operator("PUT", "/notification-channels/tickets", body)
    assert answer.status == 200, answer.body
    assert set(answer.json["events"]) == set(EVENTS)
    assert answer.json["secret"] == ""
    return made


async def delivered(place: Place) -> int:
    """Delivers what waits, as if every pause were over."""

    def due(tx: Tx) -> tuple[None, Event]:
        for each in tx.find(Notification, outcome=""):
            tx.replace(replace(each, next_at=0))
        return None, Event(EventType.DIRECTORY_CHANGED, place.now, account=place.account)

    await place.server.runtime.env.journal.write(due)
    return await deliver(place.server.runtime.env)


def only(system: TicketSystem) -> dict[str, Any]:
    (ticket,) = system.tickets.values()
    return ticket


def is_closed(ticket: dict[str, Any]) -> bool:
    return bool(ticket.get("status") == "done" or ticket.get("state") == "7")


async def test_ticket_opens_with_the_grant_and_closes_with_it(place: Place, system: TicketSystem) -> None:
    request = await place.request()
    await delivered(place)
    assert system.tickets == {}, "a request that waits has no ticket"
    await place.approve("lee", request)
    await delivered(place)
    ticket = only(system)
    assert request["id"] in str(ticket)
    assert not is_closed(ticket)
    await place.ask("ann", f"/access-requests/{request['id']}/done")
    await delivered(place)
    assert is_closed(only(system))
    assert system.faults == []


async def end(place: Place, request: Any, how: str) -> None:
    """Ends the access of a request in one of the ways that are not the person's own word."""
    path = f"/access-requests/{request['id']}"
    if how == "denied":
        await place.ask("lee", f"{path}/deny", {"binding": "", "reason": "{noformat} not needed"})
    elif how == "cancelled":
        await place.ask("ann", f"{path}/cancel")
    elif how == "revoked":
        body = {"subject": "grant", "value": request["grants"][0]["id"], "account": place.account}
        assert (await place.server.api(ROOT, "POST", "/revocations", body=body)).status == 201
    else:
        body = {"ticket": "INC-1"}
        answer = await place.operator("POST", "/grants/end-for-ticket", body)
        assert answer.status == 200


@pytest.mark.parametrize("how", ["denied", "cancelled", "revoked", "ticket_closed"])
async def test_ticket_closes_however_the_access_ends(place: Place, system: TicketSystem, how: str) -> None:
    request = await place.granted(ticket="INC-1")
    await delivered(place)
    await end(place, request, how)
    await delivered(place)
    assert is_closed(only(system))
    assert how in str(only(system))
    assert "not needed" not in str(only(system))
    assert system.faults == []


async def test_ticket_stays_open_while_another_role_of_the_request_is_granted(
    place: Place, system: TicketSystem
) -> None:
    await place.role("second")
    await place.rule("second", roles=["role/second"])
    request = await place.approve("lee", await place.request("ann", "prod", "second"))
    request = await place.approve("lou", request)
    assert len(request["grants"]) == 2
    for number, grant in enumerate(request["grants"]):
        await delivered(place)
        assert not is_closed(only(system)), number
        answer = await place.operator("POST", f"/grants/{grant['id']}/end")
        assert answer.status == 200
    await delivered(place)
    assert is_closed(only(system))


async def test_ticket_opens_for_a_request_that_is_granted_when_its_person_accepts(
    place: Place, system: TicketSystem
) -> None:
    await place.rule("prod", on_behalf=True, automatic=[{"name": "any", "condition": {}}])
    request = await place.request(beneficiary=place.users["eve"].arn)
    await delivered(place)
    assert system.tickets == {}
    await place.ask("eve", f"/access-requests/{request['id']}/accept")
    await delivered(place)
    assert request["id"] in str(only(system))


async def test_ticket_whose_creation_got_no_answer_is_opened_once(place: Place, system: TicketSystem) -> None:
    system.lose_answers = 1
    await place.granted()
    for _ in range(3):
        await delivered(place)
    assert len(system.tickets) == 1


async def test_text_of_people_in_a_ticket_is_not_markup(place: Place, system: TicketSystem, kind: str) -> None:
    reason = "Incident {nofor{noformat}mat}[~admin] [x|https://evil.example]{noformat} now"
    await place.approve("lee", await place.request(), reason=reason)
    await delivered(place)
    if kind == "jira":
        inner = only(system)["description"].removeprefix("{noformat}").removesuffix("{noformat}")
        assert "[~admin]" in inner
        assert "{" not in inner


async def test_wrong_credentials_are_visible_and_the_secret_is_not(
    place: Place, system: TicketSystem, kind: str
) -> None:
    body = {
        "kind": kind,
        "target": TARGETS[kind].format(system.url),
        "events": ["access.ended"],
        "secret": "canary:wrong",
    }
    await place.operator("PUT", "/notification-channels/tickets", body)
    await place.operator("POST", "/notification-channels/tickets/test")
    await delivered(place)
    listed = await place.operator("GET", "/notifications")
    [logged] = listed.json["notifications"]
    assert "401" in logged["error"]
    channels = await place.operator("GET", "/notification-channels")
    assert b"canary" not in listed.body + channels.body
    assert "canary" not in str(await place.server.events())


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "https://jira.example/path?project=OPS"},
        {"target": "https://jira.example"},
        {"target": 'https://jira.example?project=OPS"%20OR%201'},
        {"target": "ftp://jira.example?project=OPS"},
        {"secret": ""},
        {"secret": "user:token\r\nhost: evil"},
    ],
)
async def test_ticket_channel_without_what_it_needs_is_refused(shared: Server, changes: dict[str, str]) -> None:
    body = {"kind": "jira", "target": "https://jira.example?project=OPS", "events": ["access.ended"], "secret": "u:t"}
    body |= changes  # type: ignore[arg-type]
    answer = await shared.api(ROOT, "PUT", "/notification-channels/t", {"account": TENANT}, body=body)
    assert answer.status == 400


@pytest.mark.parametrize(
    "answer", [{"issues": [{}]}, {"issues": [1]}, {"issues": {}}, [], {"result": ["x"]}, {"result": [{"sys_id": 1}]}]
)
async def test_answer_of_another_form_is_a_failed_delivery(
    place: Place, system: TicketSystem, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(system, "answer", lambda *_: (200, answer))
    await place.approve("lee", await place.request())
    await delivered(place)
    listed = await place.server.api(ROOT, "GET", "/notifications", {"account": place.account, "outcome": "waiting"})
    failed = [each for each in listed.json["notifications"] if each["attempts"]]
    assert [each["error"] for each in failed] == ["the ticket system's answer cannot be read"]
