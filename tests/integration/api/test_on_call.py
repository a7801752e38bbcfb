"""On-call systems over HTTP, through the fetcher that all outbound requests share: who is on call gets access at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.heavy import IN_PROCESS
from tests.integration.api.access import REQUEST, Place
from tests.integration.api.conftest import BOOTSTRAP, ROOT, TENANT, Server
from tests.on_call_systems import TOKEN, IncidentIo, OnCallSystem, Opsgenie, PagerDuty, serving
from tests.patience import PATIENT_JOURNAL
from tests.prepared import prepare_sqlite

from daypass.config import Settings
from daypass.domain.directory import ApprovalRule, Grant
from daypass.domain.events import Event, EventType
from daypass.operations.accounts import bootstrap, parse
from daypass.ports import OutboundFailed, Tx
from daypass.server.application import build
from daypass.server.runtime import Runtime

SYSTEMS = {"pagerduty": PagerDuty, "opsgenie": Opsgenie, "incident.io": IncidentIo}
ANN = ("Ann Example", "Ann@Example.com")


@pytest.fixture(params=SYSTEMS)
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Place, OnCallSystem]]:
    """An installation whose operator has given it a token for the system, and a rule that asks it."""
    kind = str(request.param)
    with serving(SYSTEMS[kind]()) as system:
        access = {"private_hosts": ["127.0.0.1"], "schedule_tokens": {TENANT: {"127.0.0.1": system.authorization}}}
        settings = {
            "server": {"data": str(tmp_path)},
            "access": access,
            "journal": PATIENT_JOURNAL,
            "heavy": IN_PROCESS,
        }
        prepare_sqlite(tmp_path / "daypass.db")
        runtime = Runtime(Settings.model_validate(settings))
        await runtime.start()
        await bootstrap(runtime.env, parse(BOOTSTRAP))
        place = Place(Server(runtime, build(runtime)))
        automatic = [{"name": "on call", "condition": {"Bool": {"daypass:OnCall": "true"}}}]
        await place.fill(on_call={"calendar": system.source(), "kind": kind}, automatic=automatic)
        await person_is(place, "ann", ANN[1])
        yield place, system
        await runtime.stop()


async def person_is(place: Place, name: str, address: str) -> None:
    """The user has the tag that names the person."""

    def change(tx: Tx) -> tuple[None, Event]:
        tx.replace(replace(place.users[name], tags=(("daypass:person", address),)))
        return None, Event(EventType.DIRECTORY_CHANGED, place.now, account=TENANT)

    await place.server.runtime.env.journal.write(change)


async def test_person_on_call_gets_access_at_once_and_another_waits(there: tuple[Place, OnCallSystem]) -> None:
    place, system = there
    system.people = [ANN, ("Zoe", "zoe@example.com")]
    granted = await place.request("ann")
    assert granted["state"] == "approved"
    read = place.server.runtime.env.directory.read
    [grant] = await read(lambda tx: tx.find(Grant, request_id=granted["id"]), account="")
    assert (grant.on_call, grant.approvers) == (True, ())
    assert (await place.request("eve"))["state"] == "pending"
    assert len(system.asked) == 1  # the answer is cached for both
    await place.assume("ann")
    [event] = [each for each in await place.server.events() if each["type"] == "access.requested"][:1]
    assert event["detail"]["automatic"] is True


async def test_a205_user_who_names_somebody_on_call_as_source_identity_waits(there: tuple[Place, OnCallSystem]) -> None:
    """A user chooses the source identity in AssumeRole; only a provider vouches for one."""
    place, system = there
    system.people = [ANN]
    await place.role("desk", trust=policy_of_trust(), document=REQUEST)
    place.keys["posing"] = await place.assume("eve", "desk", SourceIdentity=ANN[1])
    assert (await place.request("posing"))["state"] == "pending"
    assert system.asked
    assert (await place.request("ann"))["state"] == "approved"


def policy_of_trust() -> str:
    """Admits the account's principals, who may set a source identity."""
    actions = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{TENANT}:root"}, "Action": actions}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_system_that_does_not_answer_makes_nobody_on_call_and_leaks_no_token(
    there: tuple[Place, OnCallSystem], status: int
) -> None:
    place, system = there
    system.people, system.status = [ANN], status
    assert (await place.request("ann"))["state"] == "pending"
    assert system.asked
    assert TOKEN not in json.dumps(await place.server.events())
    listed = await place.operator("GET", "/approval-rules")
    assert TOKEN.encode() not in listed.body


async def test_token_goes_to_no_other_host(there: tuple[Place, OnCallSystem]) -> None:
    place, system = there
    system.people = [ANN]
    source = system.source().replace("127.0.0.1", "localhost")
    schedules = place.server.runtime.env.schedules
    kind = next(kind for kind, made in SYSTEMS.items() if type(system) is made)
    with pytest.raises(OutboundFailed):
        await schedules.on_call(kind, source, place.now, owner=TENANT)
    assert system.asked == []  # a private address that the operator has not named


async def test_on_call_of_a_rule_that_this_program_cannot_read_is_not_found(server: Server) -> None:
    await server.write(ApprovalRule(TENANT, "later", "{", "digest", 1, 1, "someone"))
    answer = await server.api(ROOT, "GET", "/approval-rules/later/on-call", {"account": TENANT})
    assert answer.status == 404
