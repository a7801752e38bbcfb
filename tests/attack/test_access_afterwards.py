"""Emergency access while everything hangs (row A264), votes and persons that end or come back (A268), and patterns that a
stranger's name reaches (A269).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.test_approvals import FOR_MFA, place
from tests.attack.test_approvers import NOT_ELIGIBLE, by_role
from tests.integration.api.access import Place
from tests.integration.api.conftest import ROOT, TENANT, policy, server

from daypass.domain.access.rule import CompiledPeople, People
from daypass.domain.directory import Revocation
from daypass.operations.access_requests.follow import sweep
from daypass.operations.revocation import new_revocation
from daypass.ports import OutboundFailed, Tx

__all__ = ["place", "server"]
CALENDARS = 4
CLOSE = policy("daypass:CloseAccessReview")


async def test_a264_emergency_waits_for_all_calendars_that_hang_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone = asyncio.Barrier(CALENDARS)

    async def hangs(*_: object, **__: object) -> frozenset[str]:
        await everyone.wait()  # one after another, they would wait for ever
        raise OutboundFailed("timeout")

    monkeypatch.setattr(place.server.runtime.env.schedules, "on_call", hangs)
    glass = {"people": {"principals": ["user/ann"]}, "mfa_seconds": None}
    names = [f"prod{number}" for number in range(CALENDARS)]
    for name in names:
        await place.role(name)
        calendar = {"calendar": f"https://{name}.example.com/on-call.ics"}
        await place.rule(name, roles=[f"role/{name}"], break_glass=glass, on_call=calendar)
    async with asyncio.timeout(120):
        request = await place.request("ann", *names, break_glass=True, confirmation=names[0])
    assert request["state"] == "approved"
    await place.assume("ann", names[-1])


async def revoke(place: Place, subject: str, value: str, *, block: bool) -> None:
    body = {"subject": subject, "value": value, "account": TENANT, "block": block, "reason": "stolen", "force": True}
    made = await place.server.api(ROOT, "POST", "/revocations", body=body)
    assert made.status == 201, made.body


async def test_a268_vote_of_a_stolen_key_ends_with_the_sessions_of_its_person(place: Place) -> None:
    await place.granted()
    await revoke(place, "principal", place.users["lee"].arn, block=False)
    assert NOT_ELIGIBLE in await place.denied("ann")
    await place.granted()  # what Lee approves afterwards counts
    await place.assume("ann")


async def test_a268_vote_with_a_source_identity_ends_with_the_sessions_of_it(place: Place) -> None:
    await by_role(place)
    await revoke(place, "source_identity", "Lisa-at-work", block=False)
    assert NOT_ELIGIBLE in await place.denied("ann")


async def test_a268_vote_of_a_person_who_was_blocked_does_not_come_back_with_the_person(place: Place) -> None:
    request = await place.granted()
    await revoke(place, "principal", place.users["lee"].arn, block=True)

    def lift(tx: Tx) -> None:
        for found in tx.find(Revocation, account=TENANT, subject="principal", value=place.users["lee"].id):
            tx.replace(replace(found, block_until=place.now))

    await place.change(lift)
    assert NOT_ELIGIBLE in await place.denied("ann")
    shown = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (shown["state"], shown["end_reason"]) == ("ended", "ineligible")


async def test_a268_emergency_is_not_reviewed_by_its_person_who_was_created_again(place: Place) -> None:
    glass = {"people": {"principals": ["user/ann"]}, "mfa_seconds": None}
    await place.rule("prod", break_glass=glass)
    request = await place.request(break_glass=True, confirmation="prod")
    await place.change(lambda tx: tx.delete(place.users["ann"]))
    await place.person("ann", CLOSE)
    await place.person("rita", CLOSE)
    path, body = f"/access-reviews/{request['id']}/close", {"finding": "it was necessary"}
    status, _, message = await place.refused("ann", path, body)
    assert (status, "Nobody reviews their own" in message) == (403, True)
    assert (await place.ask("rita", path, body))["finding"] == body["finding"]


@pytest.mark.parametrize("pattern", ["arn:aws:iam::*:user/bob", "arn:*:user/bob", "arn:aws:iam::1*:*/bob"])
@pytest.mark.parametrize(
    "name",
    [
        "arn:aws:iam::111122223333:oidc-provider/idp.example.com:x:user/bob",
        "arn:aws:iam::111122223333:user/path:user/bob",
    ],
)
def test_a269_pattern_names_nobody_who_chose_a_name_that_ends_so(pattern: str, name: str) -> None:
    people = CompiledPeople(People((pattern,)), "111122223333")
    reached = pattern.endswith(":*/bob")  # it says so itself: whatever is in the resource
    assert people.include([name], None) == reached


@pytest.mark.parametrize(
    "pattern",
    ["*", "arn:*", "arn:aws:iam::*", "arn:aws:iam::*:user/*", "arn:aws:iam::1111*:user/bob", "user/bob", "user/b?b"],
)
def test_pattern_names_users_field_by_field(pattern: str) -> None:
    people = CompiledPeople(People((pattern,)), "111122223333")
    assert people.include(["arn:aws:iam::111122223333:user/bob"], None)


def test_pattern_names_a_subject_of_a_provider() -> None:
    people = CompiledPeople(People(("arn:aws:iam::*:oidc-provider/idp.example.com:repo:acme/*",)), "111122223333")
    assert people.include(["arn:aws:iam::111122223333:oidc-provider/idp.example.com:repo:acme/app"], None)
    assert not people.include(["arn:aws:iam::111122223333:oidc-provider/idp.example.com:repo:evil/app"], None)


@pytest.mark.parametrize("swept", [True, False])
async def test_a268_grant_revoked_without_the_database_gives_no_session_when_it_is_back(
    place: Place, swept: bool
) -> None:
    """Offline, the revocation alone is kept; the grant ends when it is next looked at."""
    request = await place.granted()
    await place.assume("ann")
    env = place.server.runtime.env
    named = ("grant", request["grants"][0]["id"])
    made = new_revocation(env.ids, TENANT, named, now=place.now, by="root", reason="stolen")
    await place.change(lambda tx: tx.insert(made))
    if swept:
        assert (await sweep(env)).ended == 1
    else:
        assert "was revoked" in await place.denied("ann")
    shown = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (shown["state"], shown["end_reason"]) == ("ended", "revoked")
    await place.denied("ann")


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({"roles": ["role/prod"]}, False),
        ({"roles": ["role/prod"], "requesters": {"principals": ["user/eve"]}}, True),
        ({"roles": ["role/prod"], "requesters": FOR_MFA}, True),
        ({"roles": ["role/*"]}, True),
    ],
    ids=["more specific", "for others", "with conditions", "less specific"],
)
async def test_a120_newer_rule_that_is_more_specific_applies_to_what_was_requested_under_the_old_one(
    place: Place, changes: dict[str, Any], works: bool
) -> None:
    await place.rule("prod", roles=["role/pro*"])
    await place.granted()
    waits = await place.request()
    await place.rule("strict", **changes)
    voted = await place.server.api(
        place.keys["lou"], "POST", f"/access-requests/{waits['id']}/approve", body={"binding": waits["binding"]}
    )
    assert (voted.status == 200) == works
    if works:
        await place.assume("ann")
    else:
        assert "no longer allows you" in await place.denied("ann")
