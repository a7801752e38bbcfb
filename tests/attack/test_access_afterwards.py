"""Emergency access while everything hangs (row A264), votes and persons that end or come back (A268), patterns that a
stranger's name reaches (A269), and attacks by way of other credentials, the record and reviews (A330 to A332).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.test_approvals import FOR_MFA
from tests.attack.test_approvers import NOT_ELIGIBLE, by_role
from tests.attack.test_chat import chat
from tests.integration.api.access import APPROVE, REQUEST, Place, gated, place
from tests.integration.api.conftest import TENANT, Key, policy, server

from daypass.domain.access.rule import CompiledPeople, People
from daypass.domain.directory import AccessKey, Grant, KeyStatus, Revocation, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import prepare
from daypass.operations.access_requests.follow import sweep
from daypass.operations.revocation import new_revocation
from daypass.ports import OutboundFailed, Tx

__all__ = ["chat", "place", "server"]
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


async def test_a268_vote_of_a_stolen_key_ends_with_the_sessions_of_its_person(place: Place) -> None:
    await place.granted()
    await place.revoke("principal", place.users["lee"].arn)
    assert NOT_ELIGIBLE in await place.denied("ann")
    await place.granted()  # what Lee approves afterwards counts
    await place.assume("ann")


async def test_a268_vote_with_a_source_identity_ends_with_the_sessions_of_it(place: Place) -> None:
    await by_role(place)
    await place.revoke("source_identity", "Lisa-at-work")
    assert NOT_ELIGIBLE in await place.denied("ann")


async def test_a268_vote_of_a_person_who_was_blocked_does_not_come_back_with_the_person(place: Place) -> None:
    request = await place.granted()
    await place.revoke("principal", place.users["lee"].arn, block=True)

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


OPEN = gated().replace('"true"', '"false"')
GLASS = {"people": {"principals": ["user/ann"]}, "mfa_seconds": None}


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


# --- Requests that cannot be decided as they are, and what a failover takes from votes and grants: rows A375 to A377


DENIAL = {"reason": "one of the roles is gone"}


async def without_a_role(place: Place) -> str:
    """The path of ann's pending request for two roles, one of which has been deleted."""
    await place.role("web")
    await place.rule("prod", roles=["role/prod", "role/web"])
    request = await place.request("ann", "prod", "web")
    await place.change(lambda tx: tx.delete(tx.get(Role, id=place.roles["web"].id)))
    return f"/access-requests/{request['id']}"


async def test_a375_request_for_a_deleted_role_is_shown_with_the_reason_and_denied_by_its_approvers(
    place: Place,
) -> None:
    path = await without_a_role(place)
    gone = f"The role {place.roles['web'].arn} cannot be found."
    for who in ("ann", "lee"):
        shown = await place.ask(who, path, method="GET")
        assert (shown["state"], shown["binding"], shown["obstacle"]) == ("pending", "", gone)
    inbox = await place.ask("lee", "/access-requests", method="GET", query={"approvable": "true"})
    assert len(inbox["access_requests"]) == 1
    assert gone in (await place.refused("lee", f"{path}/approve", {"binding": ""}))[2]
    for who in ("ann", "eve"):
        assert (await place.refused(who, f"{path}/deny", DENIAL))[:2] == (403, "AccessDenied")
    assert (await place.ask("lee", f"{path}/deny", DENIAL))["state"] == "denied"
    assert (await place.events("access.denied"))[-1]["detail"]["reason"] == DENIAL["reason"]


async def test_cancel_request_for_a_deleted_role_cancels_it(place: Place) -> None:
    path = await without_a_role(place)
    assert (await place.ask("ann", f"{path}/cancel"))["state"] == "cancelled"


@pytest.mark.parametrize("who", ["lee", "lia"])
async def test_show_request_whose_vote_counts_again_says_how_it_is_decided(place: Place, who: str) -> None:
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    await place.person("lia", APPROVE, "leads")
    request = await place.request()
    path, key = f"/access-requests/{request['id']}", place.keys["lee"]
    await place.approve("lee", request)
    await take(place, key, deleted=False)
    await place.approve("lou", request)

    def activate(tx: Tx) -> None:
        found = tx.get(AccessKey, id=key.id)
        assert found is not None
        tx.replace(replace(found, status=KeyStatus.ACTIVE))

    await place.change(activate)
    shown = await place.ask("ann", path, method="GET")
    assert (shown["state"], shown["missing"]) == ("pending", {})
    assert "Any approver decides it by voting again" in shown["obstacle"]
    assert (await place.approve(who, request))["state"] == "approved"
    assert (await place.ask("ann", path, method="GET"))["obstacle"] == ""


@pytest.mark.parametrize("uses", [1, 2])
async def test_a377_use_that_a_failover_has_lost_counts(place: Place, uses: int) -> None:
    """The database is an earlier one, in which the grant is unused. Servers use one-time proofs up again."""
    request = await place.granted(max_uses=uses)
    [grant] = await place.server.runtime.env.directory.read(
        lambda tx: tx.find(Grant, request_id=request["id"]), account=TENANT
    )
    await place.assume("ann")
    await place.change(lambda tx: tx.replace(grant))
    for _ in range(uses - 1):
        await place.assume("ann")
    await place.denied("ann")
