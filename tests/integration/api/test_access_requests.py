"""Access requests through the management API, and their use through AssumeRole, against real stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from tests.attack.test_access_at_use import later
from tests.integration.api.access import APPROVE, REASON, REQUEST, RULE, Place, gated, own_place
from tests.integration.api.conftest import ROOT, TENANT_ROOT, UNTOUCHED, Server, policy

from daypass.domain.directory import AccessKey, AccessRequest, Grant, KeyStatus, Membership, RequestState
from daypass.operations.access_requests import anomalies as examine
from daypass.operations.access_requests import create, follow
from daypass.operations.access_requests.follow import sweep
from daypass.operations.grants import targets, use
from daypass.ports import Tx
from daypass.stores.tx import StoreTx

pytestmark = UNTOUCHED


@pytest_asyncio.fixture(loop_scope="module")
async def place(shared: Server) -> Place:
    return await own_place(shared)


ALONE = pytest.mark.asyncio(loop_scope="function")
"""The mark of tests that take `alone`."""


@pytest.fixture
async def alone(server: Server) -> Place:
    """For a test that changes the server's clock or journal, counts what a sweep does, or signs as the account's root."""
    made = Place(server)
    await made.fill()
    return made


async def test_request_approve_assume_done_ends_the_session_and_is_on_the_record(place: Place) -> None:
    assert "not authorized" in await place.denied("ann")
    request = await place.request(seconds=1800)
    assert (request["state"], request["missing"]) == ("pending", {"prod/approval": 1})
    approved = await place.approve("lee", request, reason="go ahead")
    assert (approved["state"], approved["votes"][0]["reason"]) == ("approved", "go ahead")
    listed = await place.ask("ann", "/roles/assumable", method="GET")
    assert [role["name"] for role in listed["roles"]] == ["prod"]
    credentials = await place.assume("ann")
    assert await place.server.works(credentials)
    session = await place.server.session_of(credentials)
    mine = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    [grant] = mine["grants"]
    assert (mine["state"], grant["state"]) == ("claimed", "claimed")
    assert session["expires_at"] <= grant["ends_at"] == grant["claimed_at"] + 1_800_000
    done = await place.ask("ann", f"/access-requests/{request['id']}/done")
    assert (done["state"], done["end_reason"]) == ("ended", "done")
    assert not await place.server.works(credentials)
    await place.denied("ann")
    [issued] = await place.events("session.issued")
    assert issued["grant_id"] == grant["id"]
    assert issued["detail"]["grant"] == {"request": request["id"], "ends_at": grant["ends_at"], "claimed": True}
    [approval] = await place.events("access.approved")
    assert approval["detail"]["state"] == "approved"
    [ended] = await place.events("access.ended")
    assert ended["detail"]["reason"] == "done"


async def test_role_without_the_broker_is_a_role_that_nobody_can_assume(place: Place) -> None:
    for who in ("ann", "lee"):
        await place.denied(who)


@ALONE
async def test_a248_policies_see_the_tags_of_a_role_that_is_requested_and_approved(alone: Place) -> None:
    def denied_on_red(document: str) -> str:
        condition = {"StringEquals": {"aws:ResourceTag/team": "red"}}
        deny = {"Effect": "Deny", "Action": "daypass:*", "Resource": "*", "Condition": condition}
        parsed = json.loads(document)
        return json.dumps({**parsed, "Statement": [*parsed["Statement"], deny]})

    await alone.person("ben", denied_on_red(REQUEST), "engineers")
    await alone.person("lea", denied_on_red(APPROVE), "leads")
    await alone.request("ben")
    team = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "red"}
    await alone.server.iam(TENANT_ROOT, "TagRole", RoleName="prod", **team)
    status, code, message = await alone.refused("ben", "/access-requests", alone.wanted())
    assert (status, code) == (403, "AccessDenied")
    assert "explicit deny" in message
    request = await alone.request("ann")
    vote = {"binding": request["binding"]}
    _, code, message = await alone.refused("lea", f"/access-requests/{request['id']}/approve", vote)
    assert (code, "explicit deny" in message) == ("AccessDenied", True)
    assert (await alone.approve("lee", request))["state"] == "approved"
    denials = [e for e in await alone.server.events() if e["type"] == "request.denied"]
    assert [e["operation"] for e in denials] == ["daypass:CreateAccessRequest", "daypass:ApproveAccessRequest"]


@ALONE
async def test_approver_whose_policy_denies_a_role_by_its_tags_no_longer_approves_when_the_grant_is_used(
    alone: Place,
) -> None:
    condition = {"StringNotEquals": {"aws:ResourceTag/team": "red"}}
    statement = {"Effect": "Allow", "Action": "daypass:*", "Resource": "*", "Condition": condition}
    await alone.person("lea", json.dumps({"Version": "2012-10-17", "Statement": [statement]}), "leads")
    await alone.approve("lea", await alone.request("ann"))
    await alone.server.iam(
        TENANT_ROOT, "TagRole", RoleName="prod", **{"Tags.member.1.Key": "team", "Tags.member.1.Value": "red"}
    )
    assert "not authorized" in await alone.denied("ann")


async def test_grant_is_for_one_person_and_one_role(place: Place) -> None:
    await place.role("other")
    await place.granted("ann")
    await place.denied("eve")
    await place.denied("ann", "other")
    await place.assume("ann")


async def test_assume_role_that_admits_without_a_grant_does_not_use_the_grant(place: Place) -> None:
    await place.role("open", gated(place.account).replace('"true"', '["true", "false"]'))
    await place.rule("open", roles=["role/open"])
    request = await place.approve("lee", await place.request("ann", "open"))
    await place.assume("ann", "open")
    mine = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (mine["state"], mine["grants"][0]["state"]) == ("approved", "open")
    [issued] = await place.events("session.issued")
    assert "grant" not in issued["detail"]


async def test_a_role_chained_from_a_granted_session_is_not_approved_by_it(place: Place) -> None:
    await place.role("other", gated(place.account))
    await place.role("prod2", document=REQUEST)
    await place.rule("prod2", roles=["role/prod2"])
    await place.approve("lee", await place.request("ann", "prod2"))
    place.keys["ann-prod2"] = await place.assume("ann", "prod2")
    await place.denied("ann-prod2", "other")


async def test_person_who_is_not_an_approver_is_denied_and_sees_nothing(place: Place) -> None:
    await place.person("out", APPROVE)
    request = await place.request()
    status, code, message = await place.refused(
        "out", f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    )
    assert (status, code, message) == (403, "AccessDenied", "You are not an approver of this request.")
    assert (await place.refused("out", f"/access-requests/{request['id']}", method="GET"))[0] == 403
    assert (await place.ask("out", "/access-requests", method="GET"))["access_requests"] == []
    inbox = await place.ask("lee", "/access-requests", method="GET", query={"approvable": "true"})
    assert [each["id"] for each in inbox["access_requests"]] == [request["id"]]


@ALONE
async def test_change_of_the_role_after_the_claim_ends_the_running_sessions(alone: Place) -> None:
    await alone.granted()
    credentials = await alone.assume("ann")
    await alone.change(lambda tx: tx.replace(replace(alone.roles["prod"], tags=(("a", "b"),))))
    swept = await sweep(alone.server.runtime.env)
    assert (swept.ended, swept.open) == (1, 0)
    assert not await alone.server.works(credentials)


async def test_denial_overrides_approval_even_after_the_grant_is_in_use(place: Place) -> None:
    request = await place.granted()
    credentials = await place.assume("ann")
    denied = await place.ask("lou", f"/access-requests/{request['id']}/deny", {"reason": "not today"})
    assert (denied["state"], denied["end_reason"]) == ("ended", "denied")
    assert not await place.server.works(credentials)
    again = await place.request()
    await place.ask("lee", f"/access-requests/{again['id']}/deny", {"reason": "no", "binding": again["binding"]})
    assert (await place.refused("lou", f"/access-requests/{again['id']}/approve", {"binding": again["binding"]}))[
        0
    ] == 409


async def test_approver_shortens_and_narrows(place: Place) -> None:
    narrow = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"orders:Read*","Resource":"*"}}'
    request = await place.approve("lee", await place.request(seconds=3600), seconds=600, policy=narrow)
    assert (request["grants"][0]["seconds"], request["grants"][0]["policies"]) == (600, [narrow])
    credentials = await place.assume("ann")
    claims = await place.server.runtime.env.sealer.open(credentials.token, credentials.id)
    assert (claims.policies, claims.base_policy) == ((narrow,), False)
    assert claims.expires_at - claims.issued_at <= 600_000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reason": "........."}, "letters"),
        ({"seconds": 7200}, "at most 3600"),
        ({"roles": ["arn:aws:iam::222222222222:user/x"]}, "invalid"),
        ({"policy": "{}"}, ""),
        ({"starts_at": 1}, "30 days"),
        ({"break_glass": True}, "Confirm"),
    ],
)
async def test_request_outside_its_limits_is_refused(place: Place, more: dict[str, Any], message: str) -> None:
    status, _, text = await place.refused("ann", "/access-requests", {**place.wanted(), **more})
    assert status == 400
    assert message in text


async def test_role_without_a_rule_cannot_be_requested(place: Place) -> None:
    await place.role("unruled")
    status, code, _ = await place.refused("ann", "/access-requests", place.wanted("unruled"))
    assert (status, code) == (403, "AccessDenied")


async def test_client_token_makes_a_request_once(place: Place) -> None:
    first = await place.request(client_token="alert-1")
    assert (await place.request(client_token="alert-1"))["id"] == first["id"]
    status, code, _ = await place.refused(
        "ann", "/access-requests", {**place.wanted(), "ticket": "INC-2", "client_token": "alert-1"}
    )
    assert (status, code) == (409, "EntityAlreadyExists")
    assert (await place.request("eve", client_token="alert-1"))["id"] != first["id"]


@pytest.mark.parametrize("later", ["beneficiary", "starts_at"])
async def test_client_token_repeated_for_another_person_or_start_is_refused(place: Place, later: str) -> None:
    await place.rule("prod", on_behalf=True)
    await place.request(client_token="alert-1")
    value = place.users["eve"].arn if later == "beneficiary" else place.now + 3_600_000
    body = {**place.wanted(), "client_token": "alert-1", later: value}
    assert (await place.refused("ann", "/access-requests", body))[:2] == (409, "EntityAlreadyExists")


async def test_client_token_repeated_by_a_session_for_its_own_user_returns_the_first_request(place: Place) -> None:
    desk = await place.server.role("desk", place.account, place.account, REQUEST)
    place.keys["ann"] = await place.server.assume(place.keys["ann"], desk.arn)
    own = {"client_token": "alert-1", "beneficiary": place.users["ann"].arn}
    first = await place.request(**own)
    assert (await place.request(**own))["id"] == first["id"]
    assert (await place.request(client_token="alert-1"))["id"] == first["id"]


async def test_ticket_of_a_request_for_another_person_is_checked_by_the_rule_of_that_person(place: Place) -> None:
    """The webhook cannot be reached, so no ticket is open."""
    await place.rule("prod", on_behalf=True, requesters={"principals": ["user/ann"]})
    ticket = {"webhook": "https://tickets.invalid/"}
    await place.rule("prod-eve", on_behalf=True, requesters={"principals": ["user/eve"]}, ticket=ticket)
    request = await place.request(beneficiary=place.users["eve"].arn, ticket="INC-1")
    assert (await place.refused("eve", f"/access-requests/{request['id']}/accept"))[0] == 400


async def test_history_of_a_request_is_of_the_newest_ones(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "_LOOKED_AT", 3)
    requests = [await place.request(reason=f"{REASON}, part {n}") for n in range(5)]
    server = place.server.runtime
    seen = await server.directory.read(
        lambda tx: examine._history(tx, tx.get(AccessRequest, id=requests[-1]["id"])),  # type: ignore[arg-type]
        account="",
    )
    assert [each.id for each in seen] == [each["id"] for each in requests[3:1:-1]]


@pytest.mark.parametrize("narrower", [{"max_uses": 1}, {"policy": policy("orders:Get")}], ids=["fewer uses", "policy"])
async def test_client_token_with_narrower_terms_is_refused(place: Place, narrower: dict[str, Any]) -> None:
    await place.request(client_token="alert-1")
    body = {**place.wanted(), "client_token": "alert-1", **narrower}
    status, code, _ = await place.refused("ann", "/access-requests", body)
    assert (status, code) == (409, "EntityAlreadyExists")


async def test_vote_on_a_decided_request_says_its_state(place: Place) -> None:
    request = await place.granted()
    found = await place.ask("lee", f"/access-requests/{request['id']}", method="GET")
    body = {"binding": found["binding"]}
    status, _, message = await place.refused("lee", f"/access-requests/{request['id']}/approve", body)
    assert (status, message) == (409, "The access request is approved.")


async def test_vote_without_a_binding_is_refused(place: Place) -> None:
    request = await place.request()
    status, _, message = await place.refused("lee", f"/access-requests/{request['id']}/approve", {"binding": ""})
    assert (status, "has changed since you read it" in message) == (409, True)


async def test_extension_of_a_request_without_access_is_refused(place: Place) -> None:
    request = await place.request()
    body = {"seconds": 600, "reason": "the fix takes longer"}
    status, _, message = await place.refused("ann", f"/access-requests/{request['id']}/extend", body)
    assert (status, message) == (409, "There is no access to be extended: the access request is pending.")


async def test_parallel_first_uses_share_one_clock(place: Place) -> None:
    await place.granted(seconds=900)
    keys = await asyncio.gather(*(place.assume("ann") for _ in range(20)))
    env = place.server.runtime.env
    ends = {(await env.sealer.open(key.token, key.id)).expires_at for key in keys}
    [grant] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert max(ends) <= grant["ends_at"] == grant["claimed_at"] + 900_000


async def test_parallel_votes_on_one_request_have_one_result(place: Place) -> None:
    for number in range(8):
        await place.person(f"lead{number}", APPROVE, "leads")
    request = await place.request()
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    answers = await asyncio.gather(
        *(place.server.api(place.keys[f"lead{number}"], "POST", path, body=body) for number in range(8))
    )
    assert sorted(answer.status for answer in answers) == [200, *[409] * 7]
    grants = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert len(grants) == 1


async def test_request_for_another_person_waits_for_that_person(place: Place) -> None:
    beneficiary = place.users["eve"].arn
    assert (await place.refused("ann", "/access-requests", place.wanted(beneficiary=beneficiary)))[0] == 403
    await place.rule("prod", on_behalf=True)
    request = await place.request(beneficiary=beneficiary)
    assert request["state"] == "draft"
    path = f"/access-requests/{request['id']}"
    assert (await place.refused("lee", f"{path}/approve", {"binding": request["binding"]}))[0] == 409
    assert (await place.refused("ann", f"{path}/accept"))[0] == 404
    assert (await place.ask("eve", f"{path}/accept"))["state"] == "pending"
    await place.approve("lee", request)
    await place.assume("eve")
    await place.denied("ann")


async def test_several_roles_at_once_are_granted_together(place: Place) -> None:
    await place.role("second")
    await place.rule("second", roles=["role/second"], stages=[{"name": "b", "approvers": {"principals": ["user/lou"]}}])
    request = await place.request("ann", "prod", "second")
    assert request["missing"] == {"prod/approval": 1, "second/b": 1}
    assert (await place.approve("lee", request))["state"] == "pending"
    approved = await place.approve("lou", request)
    assert len(approved["grants"]) == 2
    await place.assume("ann", "prod")
    await place.assume("ann", "second")


@pytest.mark.parametrize("zone", ["Europe/berlin", "UTC+1", "../x", "", "x" * 256])
async def test_rule_with_a_time_zone_that_does_not_exist_is_refused(place: Place, zone: str) -> None:
    window = {"zone": zone}
    for part in ({"windows": [window]}, {"automatic": [{"name": "a", "condition": {}, "windows": [window]}]}):
        body = {"document": json.dumps({**RULE, **part})}
        answer = await place.operator("PUT", "/approval-rules/prod", body)
        assert (answer.status, "is not a time zone" in str(answer.json)) == (400, True)


async def test_automatic_rule_grants_at_once_and_is_recorded_as_such(place: Place) -> None:
    await place.rule(
        "prod",
        automatic=[{"name": "ticketed", "condition": {"StringLike": {"daypass:TicketId": "INC-*"}}, "seconds": 600}],
    )
    assert (await place.request())["state"] == "pending"
    granted = await place.request(ticket="INC-7")
    assert (granted["state"], granted["grants"][0]["approvers"], granted["votes"]) == ("approved", 0, [])
    assert granted["grants"][0]["seconds"] == 600
    await place.assume("ann")
    requested = await place.events("access.requested")
    assert [event["detail"]["automatic"] for event in requested] == [False, True]


async def test_trust_policy_may_ask_for_more_approvers_than_the_rule(place: Place) -> None:
    await place.role("careful", gated(NumericGreaterThanEquals={"daypass:ApproverCount": "2"}))
    await place.rule("careful", roles=["role/careful"])
    await place.approve("lee", await place.request("ann", "careful"))
    await place.denied("ann", "careful")


async def test_break_glass_works_without_approvers_and_leaves_a_review(place: Place) -> None:
    await place.rule("prod", break_glass={"people": {"principals": ["user/ann"]}, "seconds": 900, "mfa_seconds": None})
    wanted = place.wanted(break_glass=True, confirmation="prod")
    assert (await place.refused("eve", "/access-requests", wanted))[0] == 403
    request = await place.ask("ann", "/access-requests", wanted)
    assert (request["state"], request["grants"][0]["break_glass"]) == ("approved", True)
    await place.assume("ann")
    assert len(await place.events("access.emergency")) == 1
    reviews = (await place.operator("GET", "/access-reviews")).json["access_reviews"]
    assert [review["id"] for review in reviews] == [request["id"]]
    shown = {name: reviews[0][name] for name in ("beneficiary", "roles", "reason")}
    assert shown == {name: request[name] for name in shown}
    path = f"/access-reviews/{request['id']}/close"
    for nothing in (".", "........", "ok"):
        answer = await place.operator("POST", path, {"finding": nothing})
        assert answer.status == 400, nothing
    closed = await place.operator("POST", path, {"finding": "it was necessary"})
    assert closed.status == 200
    assert (await place.operator("POST", path, {"finding": "again and again"})).status == 409


async def test_break_glass_needs_no_ticket_but_one_that_is_given_has_the_form(place: Place) -> None:
    glass = {"people": {"principals": ["user/ann"]}, "seconds": 900, "mfa_seconds": None}
    await place.rule("prod", break_glass=glass, ticket={"patterns": ["INC-*"]})
    wanted = {**place.wanted(), "ticket": ""}
    emergency = {**wanted, "break_glass": True, "confirmation": "prod"}
    assert (await place.refused("ann", "/access-requests", wanted))[2].startswith("A ticket is required")
    assert (await place.refused("ann", "/access-requests", {**emergency, "ticket": "42"}))[0] == 400
    made = await place.ask("ann", "/access-requests", emergency)
    assert made["state"] == "approved"
    more = {"seconds": 300, "reason": "the fix takes longer"}  # that is a new request, which is no emergency
    assert (await place.refused("ann", f"/access-requests/{made['id']}/extend", more))[0] == 400


@ALONE
async def test_extension_is_a_new_request_whose_access_follows_the_earlier_one(
    alone: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await alone.granted(seconds=900)
    await alone.assume("ann")
    [before] = (await alone.ask("ann", "/grants", method="GET"))["grants"]
    path, body = f"/access-requests/{request['id']}/extend", {"seconds": 600, "reason": "the fix takes longer"}
    longer = await alone.approve("lee", await alone.ask("ann", path, body))
    assert (longer["state"], longer["extends"]) == ("approved", request["id"])
    await alone.assume("ann")
    later(alone, monkeypatch, 900)
    await alone.assume("ann")
    [after, first] = (await alone.ask("ann", "/grants", method="GET"))["grants"]
    assert (first["ends_at"], first["state"]) == (before["ends_at"], "ended")
    assert (after["state"], after["starts_at"], after["seconds"]) == ("claimed", before["ends_at"], 600)


async def test_scheduled_access_starts_at_its_time(place: Place) -> None:
    start = place.now + 3_600_000
    request = await place.granted(starts_at=start)
    assert request["grants"][0]["state"] == "scheduled"
    await place.denied("ann")


async def test_cancelled_request_gives_nothing(place: Place) -> None:
    request = await place.granted()
    assert (await place.ask("ann", f"/access-requests/{request['id']}/cancel"))["state"] == "cancelled"
    await place.denied("ann")
    assert (await place.refused("eve", f"/access-requests/{request['id']}/cancel"))[0] == 404


async def test_revoking_a_grant_ends_it_and_its_sessions(place: Place) -> None:
    request = await place.granted()
    credentials = await place.assume("ann")
    grant = request["grants"][0]["id"]
    body = {"subject": "grant", "value": grant, "account": place.account}
    assert (await place.server.api(ROOT, "POST", "/revocations", body=body)).status == 201
    assert not await place.server.works(credentials)
    await place.denied("ann")
    mine = await place.ask("ann", f"/access-requests/{request['id']}", method="GET")
    assert (mine["state"], mine["end_reason"]) == ("ended", "revoked")


async def test_grants_of_a_closed_ticket_end(place: Place) -> None:
    await place.granted(ticket="INC-1")
    credentials = await place.assume("ann")
    body = {"ticket": "INC-1"}
    ended = await place.operator("POST", "/grants/end-for-ticket", body)
    assert [grant["end_reason"] for grant in ended.json["grants"]] == ["ticket_closed"]
    assert not await place.server.works(credentials)


async def test_a354_grants_of_a_ticket_end_some_in_each_transaction(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_AT_ONCE", 2)
    for _ in range(5):
        await place.granted(ticket="INC-2")
    ended = await place.operator("POST", "/grants/end-for-ticket", {"ticket": "INC-2"})
    assert [grant["end_reason"] for grant in ended.json["grants"]] == ["ticket_closed"] * 5
    assert len({grant["id"] for grant in ended.json["grants"]}) == 5
    await place.denied("ann")


async def test_a354_person_with_many_open_grants_gets_no_further_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit a person who leaves ends them all in one transaction, for which everybody's writes wait."""
    monkeypatch.setattr(create, "MAX_GRANTS", 2)
    for _ in range(2):
        await place.granted()
    status, _, message = await place.refused("ann", "/access-requests", place.wanted())
    assert (status, "2 open grants" in message) == (409, True), message
    await place.granted("eve")


@ALONE
async def test_sweep_expires_requests_and_unclaimed_grants(alone: Place) -> None:
    waiting, granted = await alone.request("eve"), await alone.granted()
    past = alone.now - 1

    def age(tx: Tx) -> None:
        request, grant = tx.get(AccessRequest, id=waiting["id"]), tx.get(Grant, id=granted["grants"][0]["id"])
        assert request is not None
        assert grant is not None
        tx.replace(replace(request, deadline=past))
        tx.replace(replace(grant, claim_by=past))

    await alone.change(age)
    await alone.denied("ann")
    swept = await sweep(alone.server.runtime.env)
    assert (swept.expired, swept.ended) == (1, 1)
    for request in (waiting, granted):
        found = await alone.operator("GET", f"/access-requests/{request['id']}")
        assert found.json["state"] == RequestState.EXPIRED
    assert [event["detail"]["reason"] for event in await alone.events("access.expired")] == ["undecided"]


async def test_another_account_sees_no_request(place: Place) -> None:
    request = await place.request()
    _, stranger = await place.server.user("stranger", "111111111111", APPROVE)
    place.keys["stranger"] = stranger
    for path in ("", "/approve", "/cancel", "/done"):
        method, body = ("GET", None) if not path else ("POST", {"binding": "0" * 64} if path == "/approve" else None)
        status, _, _ = await place.refused("stranger", f"/access-requests/{request['id']}{path}", body, method)
        assert status in (403, 404)


@ALONE
async def test_grant_is_not_used_while_the_database_cannot_be_written(
    alone: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from daypass.domain.errors import DaypassError, ErrorKind

    await alone.granted()

    async def broken(*_: Any, **__: Any) -> None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be kept.")

    monkeypatch.setattr(type(alone.server.runtime.env.journal), "write", broken)
    answer = await alone.server.sts(
        alone.keys["ann"], "AssumeRole", RoleArn=alone.roles["prod"].arn, RoleSessionName="shift"
    )
    assert answer.findtext(".//Code") == "ServiceUnavailable"


async def test_suggestions_are_requestable_roles_that_satisfy_the_need_least_privileged_first(place: Place) -> None:
    place_of = "arn:aws:orders:::eu/1"
    await place.role("narrow", document=policy("orders:Write"))
    await place.role("wide", document=policy("*"))
    await place.role("reader", document=policy("orders:Read"))
    await place.role("unruled", document=policy("orders:Write"))
    await place.rule("prod", roles=["role/prod", "role/narrow", "role/wide", "role/reader"])
    await place.approve("lee", await place.request("ann", "wide"))
    query = {"action": "orders:Write", "resource": place_of}
    found = (await place.ask("ann", "/role-suggestions", method="GET", query=query))["suggestions"]
    names = [each["role"].rpartition("/")[2] for each in found]
    assert names == ["narrow", "prod", "wide"]
    assert [each["beyond"] for each in found] == [[], ["orders:*"], ["*"]]
    assert [bool(each["grant_id"]) for each in found] == [False, False, True]
    assert (await place.ask("lee", "/role-suggestions", method="GET", query=query))["suggestions"] == []


async def test_request_of_a_person_who_was_disabled_cannot_be_approved(place: Place) -> None:
    request = await place.request()

    def disable(tx: Tx) -> None:
        for key in tx.find(AccessKey, owner_id=place.users["ann"].id):
            tx.replace(replace(key, status=KeyStatus.INACTIVE))

    await place.change(disable)
    path = f"/access-requests/{request['id']}"
    seen = await place.ask("lee", path, method="GET")
    assert (seen["binding"], "deleted or disabled" in seen["obstacle"]) == ("", True)
    assert (await place.refused("lee", f"{path}/approve", {"binding": request["binding"]}))[0] == 403
    denial = {"reason": "the person has left", "binding": ""}
    assert (await place.ask("lee", f"{path}/deny", denial))["state"] == "denied"


async def test_request_that_existing_access_covers_returns_the_earlier_request(place: Place) -> None:
    first = await place.granted()
    again = await place.request(reuse=True)
    assert (again["id"], again["reused"], again["state"]) == (first["id"], True, "approved")
    for more in ({}, {"reuse": True, "seconds": 3600 * 2}, {"reuse": True, "policy": policy("orders:Get*")}):
        answer = await place.server.api(place.keys["ann"], "POST", "/access-requests", body=place.wanted(**more))
        assert answer.status == 400 or answer.json["id"] != first["id"], more
    other = await place.request("eve", reuse=True)
    assert (other["id"] != first["id"], other["reused"]) == (True, False)
    await place.ask("ann", f"/access-requests/{first['id']}/done")
    assert (await place.request(reuse=True, reason="another incident"))["reused"] is False


async def test_request_that_is_sent_again_while_it_waits_is_the_first_one(place: Place) -> None:
    first = await place.request(seconds=600)
    again = await place.request(seconds=600)
    assert (again["id"], again["reused"], again["state"]) == (first["id"], True, "pending")
    for more in ({"seconds": 900}, {"ticket": "INC-7"}, {"reason": "another one"}):
        other = await place.request(**{"seconds": 600, **more})
        assert (other["id"] != first["id"], other["reused"]) == (True, False), more
    assert (await place.request("eve", seconds=600))["id"] != first["id"]
    await place.ask("ann", f"/access-requests/{first['id']}/cancel")
    assert (await place.request(seconds=600))["id"] != first["id"]
    assert len(await place.events("access.requested")) == 6, "approvers are told of each request once"


async def test_request_that_lacks_only_mfa_says_so_and_is_granted_when_it_is_sent_again_with_mfa(place: Place) -> None:
    await place.rule("prod", automatic=[{"name": "on call", "condition": {}, "seconds": 600, "mfa_seconds": 300}])
    waits = await place.request()
    assert (waits["state"], "send the same request again with MFA" in waits["hint"]) == ("pending", True)
    place.keys["ann"] = await place.with_mfa("ann")
    granted = await place.request()
    assert (granted["id"], granted["state"], granted["hint"]) == (waits["id"], "approved", "")
    await place.rule("prod", automatic=[{"name": "never", "condition": {"Bool": {"daypass:OnCall": "true"}}}])
    assert (await place.request(reason="a later incident"))["hint"] == ""


async def test_own_access_names_the_requests_that_wait_for_the_callers_decision(place: Place) -> None:
    request = await place.request()
    waiting = {who: (await place.ask(who, "/own-access", method="GET"))["waiting"] for who in ("ann", "eve", "lee")}
    assert waiting == {"ann": [], "eve": [], "lee": [request["id"]]}
    await place.approve("lee", request)
    assert (await place.ask("lee", "/own-access", method="GET"))["waiting"] == []


@ALONE
async def test_summary_counts_automatic_approvals(alone: Place) -> None:
    await alone.rule("prod", automatic=[{"name": "any", "condition": {}}])
    await alone.request()
    query = {"since": str(alone.now - 60_000), "until": str(alone.now + 60_000)}
    answer = await alone.server.api(TENANT_ROOT, "GET", "/audit/summary", query)
    assert {name: sum(answer.json["series"][name]) for name in ("requested", "approved")} == {
        "requested": 1,
        "approved": 1,
    }


async def test_a356_request_that_many_grants_cover_checks_one_of_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check took milliseconds of the transaction for which everybody's writes wait."""
    checked: list[str] = []
    check = create.why_void

    def counting(env: Any, tx: Any, grant: Grant, *more: Any) -> Any:
        checked.append(grant.id)
        return check(env, tx, grant, *more)

    monkeypatch.setattr(create, "why_void", counting)
    first, *_ = [await place.granted() for _ in range(3)]
    assert (await place.request(reuse=True))["id"] == first["id"]
    assert len(checked) == 1
    await place.change(lambda tx: [tx.delete(each) for each in tx.find(Membership, user_id=place.users["lee"].id)])
    assert (await place.request(reuse=True))["reused"] is False
    assert len(checked) == 4


async def test_use_of_a_grant_reads_nothing_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked in the transaction for which everybody's writes wait."""
    reads: list[str] = []
    check = use.why_void

    def recording(name: str) -> Callable[..., Any]:
        read = getattr(StoreTx, name)

        def record(tx: StoreTx, kind: type[Any], **wanted: Any) -> Any:
            reads.append(f"{name} {kind.__name__} {sorted(wanted.items())}")
            return read(tx, kind, **wanted)

        return record

    def checked(*facts: Any) -> Any:
        with monkeypatch.context() as patch:
            for name in ("get", "find"):
                patch.setattr(StoreTx, name, recording(name))
            return check(*facts)

    await place.granted()
    monkeypatch.setattr(use, "why_void", checked)
    await place.assume("ann")
    assert reads
    assert len(set(reads)) == len(reads)


async def test_requestable_role_behind_many_others_is_suggested_and_listed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_BATCH", 2)
    for number in range(7):
        await place.role(f"a-{number}")
    query = {"action": "orders:Write", "resource": "*"}
    suggested = (await place.ask("ann", "/role-suggestions", method="GET", query=query))["suggestions"]
    assert [each["role"] for each in suggested] == [place.roles["prod"].arn]
    listed = await place.ask("ann", "/roles/requestable", method="GET", query={"limit": "5"})
    assert ([each["arn"] for each in listed["roles"]], listed["next"]) == ([place.roles["prod"].arn], "")
    monkeypatch.setattr(targets, "_LOOKED_AT", 4)
    listed = await place.ask("ann", "/roles/requestable", method="GET")
    assert (listed["roles"], bool(listed["next"])) == ([], True)
    none = await place.ask("lee", "/roles/requestable", method="GET")
    assert none == {"roles": [], "next": ""}, "no rule lets Lee request a role"
