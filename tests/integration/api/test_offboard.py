"""Offboarding: one call ends everything that a person could still use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.api.access import Place
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Key, Server, policy

from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    Attachment,
    Grant,
    InlinePolicy,
    LoginProfile,
    Membership,
    MfaDevice,
    User,
)
from daypass.operations.iam.mfa import seal_seed
from daypass.operations.offboarding import DELETING
from daypass.ports import Reader

ASSUME = policy("sts:AssumeRole", "sts:SetSourceIdentity")
SERIAL = f"arn:aws:iam::{OPERATOR}:mfa/phone"


async def person(server: Server) -> tuple[User, Key, Key]:
    """A user with a key, a password, an MFA device and a role session: the user, its key and the session."""
    user, key = await server.user("alice", OPERATOR, ASSUME)
    sealed = seal_seed(server.runtime.env.sealer, b"s" * 20, OPERATOR, user.id, SERIAL)
    now = server.runtime.clock.now()
    await server.write(
        LoginProfile(user.id, OPERATOR, now, "hash", now),
        MfaDevice(OPERATOR, SERIAL, "phone", "/", now, sealed, user.id, now),
    )
    role = await server.role("deployer", OPERATOR, OPERATOR)
    return user, key, await server.assume(key, role.arn)


async def offboard(server: Server, key: Key = ROOT, **body: Any) -> dict[str, Any]:
    answer = await server.api(key, "POST", "/offboardings", body=body)
    assert answer.status == 200, answer.body
    return dict(answer.json)


async def test_offboard_ends_sessions_and_disables_keys_password_and_devices(server: Server) -> None:
    user, key, session = await person(server)
    report = await offboard(server, user="alice", reason="left")
    assert report["keys_disabled"] == [key.id]
    assert report["password_removed"] is True
    assert report["mfa_devices_deactivated"] == [SERIAL]
    assert [(r["subject"], r["value"], r["block"]) for r in report["revocations"]] == [("principal", user.id, True)]
    assert (report["sessions_ended"], report["user"]) == (1, user.arn)
    assert not await server.works(session)
    refused = await server.sts(key, "GetCallerIdentity")
    assert refused.findtext(".//Code") == "InvalidClientTokenId"
    event = next(e for e in await server.events() if e["type"] == "principal.offboarded")
    assert (event["detail"]["keys"], event["detail"]["reason"]) == ([key.id], "left")


async def test_offboard_names_the_scim_tokens_that_it_deletes_and_no_others(server: Server) -> None:
    await person(server)
    await server.user("directory", OPERATOR, ASSUME)
    for name, user in (("hers", "alice"), ("other", "directory")):
        made = await server.api(ROOT, "POST", "/scim-tokens", body={"name": name, "user": user, "days": 1})
        assert made.status == 201, made.body
    assert (await offboard(server, user="alice", dry_run=True))["scim_tokens_deleted"] == ["hers"]
    assert (await offboard(server, user="alice"))["scim_tokens_deleted"] == ["hers"]
    event = next(e for e in await server.events() if e["type"] == "principal.offboarded")
    assert event["detail"]["scim_tokens"] == ["hers"]
    left = (await server.api(ROOT, "GET", "/scim-tokens")).json
    assert [token["name"] for token in left["scim_tokens"]] == ["other"]
    assert (await offboard(server, user="alice"))["scim_tokens_deleted"] == []


async def test_offboard_again_changes_nothing_and_names_the_standing_block(server: Server) -> None:
    await person(server)
    first = await offboard(server, user="alice")
    again = await offboard(server, user="alice")
    assert (again["keys_disabled"], again["password_removed"], again["revocations"]) == ([], False, [])
    assert [r["id"] for r in again["already_blocked"]] == [r["id"] for r in first["revocations"]]
    assert len((await server.api(ROOT, "GET", "/revocations")).json["revocations"]) == 1


async def test_offboard_again_after_the_block_was_lifted_blocks_anew(server: Server) -> None:
    await person(server)
    first = await offboard(server, user="alice")
    await server.api(ROOT, "POST", f"/revocations/{first['revocations'][0]['id']}/lift")
    again = await offboard(server, user="alice")
    assert len(again["revocations"]) == 1
    assert again["already_blocked"] == []


async def test_offboard_covers_the_other_principals_of_a_person(server: Server) -> None:
    _, key, _ = await person(server)
    role = await server.role("shared", OPERATOR, OPERATOR, ASSUME)
    under_identity = await server.assume(key, role.arn, SourceIdentity="alice@example.com")
    provider = f"arn:aws:iam::{OPERATOR}:oidc-provider/issuer.example.com:alice"
    also = [{"kind": "principal", "value": provider}, {"kind": "source_identity", "value": "alice@example.com"}]
    report = await offboard(server, also=also)
    assert {(r["subject"], r["value"]) for r in report["revocations"]} == {
        ("principal", provider),
        ("source_identity", "alice@example.com"),
    }
    assert not await server.works(under_identity)


async def test_offboard_with_dry_run_reports_and_changes_nothing(server: Server) -> None:
    _, key, session = await person(server)
    report = await offboard(server, user="alice", dry_run=True)
    assert (report["dry_run"], report["keys_disabled"], report["sessions_ended"]) == (True, [key.id], 1)
    assert await server.works(session)
    assert await server.works(key)
    assert not [e for e in await server.events() if e["type"] == "principal.offboarded"]


@pytest.mark.parametrize("missing", ["daypass:Offboard", "iam:UpdateAccessKey", "iam:DeleteLoginProfile",
                                     "iam:DeactivateMFADevice"])  # fmt: skip
async def test_offboard_needs_the_permissions_of_each_part(server: Server, missing: str) -> None:
    _, _, session = await person(server)
    actions = ["daypass:Offboard", "iam:UpdateAccessKey", "iam:DeleteLoginProfile", "iam:DeactivateMFADevice"]
    _, helper = await server.user("helper", OPERATOR, policy(*(a for a in actions if a != missing)))
    refused = await server.api(helper, "POST", "/offboardings", body={"user": "alice"})
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert await server.works(session)


async def test_offboard_of_an_unknown_user_tells_only_those_who_may(server: Server) -> None:
    _, helper = await server.user("helper", OPERATOR)
    assert (await server.api(helper, "POST", "/offboardings", body={"user": "nobody"})).code == "AccessDenied"
    assert (await server.api(ROOT, "POST", "/offboardings", body={"user": "nobody"})).code == "NoSuchEntity"


async def test_offboard_in_another_account_is_for_the_operator(server: Server) -> None:
    user, _, session = await person(server)
    refused = await server.api(TENANT_ROOT, "POST", "/offboardings", body={"user": "alice", "account": OPERATOR})
    assert refused.code == "AccessDenied"
    assert await server.works(session)
    _, tenant_key = await server.user("bob", TENANT)
    report = await offboard(server, user="bob", account=TENANT)
    assert (report["account"], report["keys_disabled"]) == (TENANT, [tenant_key.id])
    assert user.arn not in json.dumps(report)


async def test_offboard_with_delete_ends_everything_in_one_step_with_one_record(server: Server) -> None:
    place = Place(server)
    await place.fill(on_behalf=True)
    await place.granted("ann")
    session = await place.assume("ann")
    waiting = await place.request("ann")
    for_another = await place.request("ann", beneficiary=place.users["eve"].arn)
    report = await offboard(server, user="ann", account=TENANT, delete=True, reason="left")
    assert report["keys_disabled"] == [place.keys["ann"].id]
    assert sorted(report["access_requests_cancelled"]) == sorted([waiting["id"], for_another["id"]])
    [grant] = report["grants_ended"]
    assert not await server.works(session)
    assert (await server.sts(place.keys["ann"], "GetCallerIdentity")).findtext(".//Code") == "InvalidClientTokenId"

    def left(tx: Reader) -> tuple[Any, ...]:
        of_ann = {"account": TENANT, "owner_id": place.users["ann"].id}
        return (
            tx.get(User, id=place.users["ann"].id),
            *(tx.count(kind, **of_ann) for kind in (AccessKey, InlinePolicy, Attachment)),
            tx.count(Membership, account=TENANT, user_id=place.users["ann"].id),
            {str(tx.get(AccessRequest, id=each["id"]).state) for each in (waiting, for_another)},
            tx.get(Grant, id=grant).end_reason,
        )

    found = await server.runtime.env.directory.read(left, account="")
    assert found == (None, 0, 0, 0, 0, {"cancelled"}, "ineligible")
    events = await server.events()
    [event] = [e for e in events if e["type"] == "principal.offboarded"]
    assert {"access.ended", "access.expired", "access.cancelled"}.isdisjoint({e["type"] for e in events})
    assert (event["detail"]["deleted"], event["detail"]["grants"]) == (True, [grant])
    assert sorted(event["detail"]["access_requests"]) == sorted([waiting["id"], for_another["id"]])


async def test_offboard_with_delete_then_again_is_no_such_user(server: Server) -> None:
    await person(server)
    await offboard(server, user="alice", delete=True)
    again = await server.api(ROOT, "POST", "/offboardings", body={"user": "alice", "delete": True})
    assert again.code == "NoSuchEntity"


async def test_offboard_with_delete_and_dry_run_changes_nothing(server: Server) -> None:
    _, key, session = await person(server)
    report = await offboard(server, user="alice", delete=True, dry_run=True)
    assert (report["dry_run"], report["keys_disabled"]) == (True, [key.id])
    assert await server.works(session)


@pytest.mark.parametrize("missing", DELETING)
async def test_offboard_with_delete_needs_the_permissions_of_iam(server: Server, missing: str) -> None:
    _, _, session = await person(server)
    actions = {"daypass:Offboard", "iam:UpdateAccessKey", "iam:DeleteLoginProfile", "iam:DeactivateMFADevice"}
    _, helper = await server.user("helper", OPERATOR, policy(*sorted({*actions, *DELETING} - {missing})))
    refused = await server.api(helper, "POST", "/offboardings", body={"user": "alice", "delete": True})
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert await server.works(session)


async def test_offboard_ends_no_access_of_another_account_by_a_principal_that_is_only_named(server: Server) -> None:
    place = Place(server)
    await place.fill()
    await place.granted("ann")
    body = {"also": [{"kind": "principal", "value": place.users["ann"].id}]}
    await server.api(ROOT, "POST", "/offboardings", body=body)
    assert await server.works(await place.assume("ann"))


@pytest.mark.parametrize(
    "body",
    [
        {"delete": True},
        {},
        {"also": [{"kind": "role", "value": "x"}]},
        {"user": "a", "account": "*"},
        {"user": "a", "reason": "\0"},
    ],
)
async def test_offboard_with_bad_input_is_refused(server: Server, body: dict[str, Any]) -> None:
    answer = await server.api(ROOT, "POST", "/offboardings", body=body)
    assert (answer.status, answer.code) == (400, "ValidationError")
