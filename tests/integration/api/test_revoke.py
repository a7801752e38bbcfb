from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, UNTOUCHED, Key, Server, policy

from daypass.domain.directory import Role, User
from daypass.domain.session import SessionClaims
from daypass.operations import revocation
from daypass.operations.iam import context as changes
from daypass.operations.sessions import revoke as revoked_sessions

ASSUME = policy("sts:AssumeRole", "sts:SetSourceIdentity")


async def chain(server: Server) -> tuple[User, Key, Role, Key, Role, Key]:
    """alice (operator account) → first (operator account) → second (tenant's), with a source identity."""
    user, alice = await server.user("alice", OPERATOR, ASSUME)
    first = await server.role("first", OPERATOR, OPERATOR, ASSUME)
    second = await server.role("second", TENANT, OPERATOR)
    parent = await server.assume(alice, first.arn, SourceIdentity="alice")
    child = await server.assume(parent, second.arn)
    assert await server.works(parent)
    assert await server.works(child)
    return user, alice, first, parent, second, child


async def revoke(server: Server, key: Key, subject: str, value: str, **more: object) -> dict[str, object]:
    answer = await server.api(key, "POST", "/revocations", body={"subject": subject, "value": value, **more})
    assert answer.status == 201, answer.body
    return answer.json  # type: ignore[no-any-return]


async def test_revoke_parent_session_kills_the_child_across_accounts(server: Server) -> None:
    _, alice, first, parent, _, child = await chain(server)
    session = await server.session_of(parent)
    made = await revoke(server, ROOT, "session", session["session_id"], reason="lost laptop")
    assert not await server.works(parent)
    assert not await server.works(child)
    assert await server.works(await server.assume(alice, first.arn)), "no block: alice may begin anew"
    assert (await server.session_of(child))["state"] == "revoked"
    assert (await server.session_of(child))["revoked_by"] == made["id"]
    event = next(e for e in await server.events() if e["type"] == "session.revoked")
    assert event["session_id"] == session["session_id"]
    assert event["detail"]["reason"] == "lost laptop"


async def test_revoke_child_session_spares_the_parent(server: Server) -> None:
    *_, parent, _, child = await chain(server)
    await revoke(server, TENANT_ROOT, "session", (await server.session_of(child))["session_id"])
    assert await server.works(parent)
    assert not await server.works(child)


Pick = Callable[[User, Key, Role, Key], str]


@pytest.mark.parametrize(
    ("subject", "pick"),
    [
        ("role", lambda user, key, role, parent: role.id),
        ("role", lambda user, key, role, parent: role.arn),
        ("role", lambda user, key, role, parent: role.name),
        ("principal", lambda user, key, role, parent: user.id),
        ("principal", lambda user, key, role, parent: user.arn),
        ("principal", lambda user, key, role, parent: user.name),
        ("principal", lambda user, key, role, parent: role.arn),
        ("access_key", lambda user, key, role, parent: key.id),
        ("access_key", lambda user, key, role, parent: parent.id),
        ("source_identity", lambda user, key, role, parent: "alice"),
        ("account", lambda user, key, role, parent: OPERATOR),
    ],
)
async def test_revoke_ends_every_session_with_such_a_hop(server: Server, subject: str, pick: Pick) -> None:
    user, alice, first, parent, _, child = await chain(server)
    await revoke(server, ROOT, subject, pick(user, alice, first, parent))
    assert not await server.works(parent)
    assert not await server.works(child)


async def test_delete_role_ends_its_sessions_and_those_made_from_them(server: Server) -> None:
    _, _, first, parent, _, child = await chain(server)
    await server.iam(ROOT, "DeleteRolePolicy", RoleName="first", PolicyName="p")
    await server.iam(ROOT, "DeleteRole", RoleName="first")
    assert not await server.works(parent)
    assert not await server.works(child)
    assert [(await server.session_of(key))["state"] for key in (parent, child)] == ["revoked", "revoked"]
    [made] = (await server.api(ROOT, "GET", "/revocations")).json["revocations"]
    assert (made["subject"], made["value"], made["block"]) == ("principal", first.id, False)
    assert made["reason"] == "the role first was deleted"


async def test_delete_user_ends_sessions_that_it_began(server: Server) -> None:
    _, alice, _, parent, _, child = await chain(server)
    own = await server.session_token(alice)
    await server.iam(ROOT, "DeleteUserPolicy", UserName="alice", PolicyName="p")
    await server.iam(ROOT, "DeleteAccessKey", UserName="alice", AccessKeyId=alice.id)
    assert await server.works(parent), "the key alone was deleted"
    await server.iam(ROOT, "DeleteUser", UserName="alice")
    for key in (own, parent, child):
        assert not await server.works(key)
        assert (await server.session_of(key))["state"] == "revoked"


async def test_delete_role_beyond_its_share_of_the_quota_leaves_room_for_revocations(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_STORED", 1)
    for name in ("one", "two", "three"):
        await server.role(name, OPERATOR, OPERATOR)
        await server.iam(ROOT, "DeleteRole", RoleName=name)
    assert len((await server.api(ROOT, "GET", "/revocations")).json["revocations"]) == 1


async def test_revoke_says_how_many_sessions_it_ended_in_all_accounts(server: Server) -> None:
    _, alice, first, *_ = await chain(server)
    await server.assume(alice, first.arn)
    made = await revoke(server, ROOT, "access_key", alice.id)
    assert (made["sessions_ended"], made["sessions_complete"]) == (3, True)
    again = await revoke(server, ROOT, "access_key", alice.id)
    assert again["sessions_ended"] == 0
    await revoke(server, ROOT, "account", OPERATOR)
    other = await revoke(server, ROOT, "role", first.id)
    assert other["sessions_ended"] == 0, "they ended by their account"


async def test_revoke_acts_before_it_counts_and_says_when_not_all_were_counted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, first, *_ = await chain(server)
    keys = [await server.assume(alice, first.arn) for _ in range(3)]
    records, worked = type(server.runtime.env.records), []
    real = records.may_be_ended

    async def watched(self: object, *args: object) -> AsyncIterator[SessionClaims]:
        worked.append(await server.works(keys[0]))
        async for claims in real(self, *args):
            yield claims

    monkeypatch.setattr(records, "may_be_ended", watched)
    monkeypatch.setattr(revoked_sessions.count_ended, "__kwdefaults__", {"most": 2, "seconds": 20.0})
    made = await revoke(server, ROOT, "role", first.id)
    assert worked == [False], "the revocation was in force when counting began"
    assert (made["sessions_ended"], made["sessions_complete"]) == (3, False)
    event = next(e for e in await server.events() if e["type"] == "session.revoked")
    assert "sessions_ended" not in event["detail"], "the record states no number that was not counted"


async def test_revoke_whose_sessions_cannot_be_counted_in_time_gives_no_number(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, first, parent, *_ = await chain(server)

    async def never(*_: object) -> AsyncIterator[SessionClaims]:
        await asyncio.Event().wait()
        yield  # type: ignore[misc]

    monkeypatch.setattr(type(server.runtime.env.records), "may_be_ended", never)
    made = await revoke(server, ROOT, "role", first.id)
    assert (made["sessions_ended"], made["sessions_complete"]) == (None, False)
    assert not await server.works(parent)


@pytest.mark.parametrize(
    ("subject", "value"),
    [
        ("access_key", "AKIAMISTYPED00000000"),
        ("source_identity", "nobody"),
        ("role", "AROAABCDEFGHIJKLMNOPQ"),
        ("principal", "AIDAABCDEFGHIJKLMNOPQ"),
        ("principal", f"{OPERATOR}:nobody"),
        ("principal", f"arn:aws:iam::{OPERATOR}:oidc-provider/issuer.example.com:job-1"),
    ],
)
async def test_revoke_value_that_is_not_known_is_refused_unless_forced(
    server: Server, subject: str, value: str
) -> None:
    await chain(server)
    answer = await server.api(ROOT, "POST", "/revocations", body={"subject": subject, "value": value})
    assert (answer.status, answer.code) == (404, "NoSuchEntity")
    assert "force" in answer.json["error"]["message"]
    assert (await server.api(ROOT, "GET", "/revocations")).json["revocations"] == []
    refused = [e for e in await server.events() if e.get("operation") == "daypass:RevokeSession" and e.get("error")]
    assert refused[-1]["error"] == "not_found"
    assert (await revoke(server, ROOT, subject, value, force=True))["sessions_ended"] == 0


async def test_revoke_with_block_keeps_the_leaked_key_from_assuming_again(server: Server) -> None:
    user, alice, first, _, _, _ = await chain(server)
    await revoke(server, ROOT, "principal", user.id, block=True)
    refused = await server.sts(alice, "AssumeRole", RoleArn=first.arn, RoleSessionName="again")
    assert refused.tag == "ErrorResponse"
    assert refused.findtext(".//Code") == "AccessDenied"


async def test_revoke_of_anothers_account_matches_nothing_of_theirs(server: Server) -> None:
    user, alice, first, parent, _, child = await chain(server)
    session = await server.session_of(parent)
    for subject, value in (("session", session["session_id"]), ("role", first.arn), ("principal", user.arn)):
        answer = await server.api(TENANT_ROOT, "POST", "/revocations", body={"subject": subject, "value": value})
        assert (answer.status, answer.code) == (404, "NoSuchEntity"), subject
    for subject, value in (("access_key", alice.id), ("principal", user.id), ("source_identity", "nobody")):
        answer = await server.api(TENANT_ROOT, "POST", "/revocations", body={"subject": subject, "value": value})
        assert (answer.status, answer.code) == (404, "NoSuchEntity"), "another account's is as unknown as none"
        made = await revoke(server, TENANT_ROOT, subject, value, force=True)
        assert made["sessions_ended"] == 0
    assert await server.works(parent)
    assert await server.works(child)


async def test_revoke_for_another_account_is_for_the_operator_alone(server: Server) -> None:
    *_, child = await chain(server)
    body = {"subject": "account", "value": OPERATOR, "account": OPERATOR}
    assert (await server.api(TENANT_ROOT, "POST", "/revocations", body=body)).code == "AccessDenied"
    unnamed = await server.api(TENANT_ROOT, "POST", "/revocations", body={"subject": "account", "value": OPERATOR})
    absent = await server.api(ROOT, "POST", "/revocations", body={"subject": "account", "value": "999999999999"})
    assert unnamed.code == absent.code == "NoSuchEntity"
    made = await revoke(server, ROOT, "account", TENANT)  # the operator need not name the account twice
    assert made["account"] == TENANT
    assert not await server.works(child)
    listed = await server.api(TENANT_ROOT, "GET", "/revocations")
    assert [r["id"] for r in listed.json["revocations"]] == [made["id"]]


async def test_revoke_needs_the_permission_on_what_is_named(server: Server) -> None:
    user, _, first, _, _, _ = await chain(server)
    scoped = policy("daypass:RevokeSession", resource=f"arn:aws:daypass::{OPERATOR}:role/{first.id}")
    _, key = await server.user("responder", OPERATOR, scoped)
    await revoke(server, key, "role", first.name)
    denied = await server.api(key, "POST", "/revocations", body={"subject": "principal", "value": user.id})
    assert denied.code == "AccessDenied"
    unknown = await server.api(key, "POST", "/revocations", body={"subject": "role", "value": "no-such-role"})
    assert unknown.code == "AccessDenied", "who may not revoke it does not learn whether it is there"


async def test_revoke_of_a_session_that_is_not_there_is_not_found(server: Server) -> None:
    answer = await server.api(ROOT, "POST", "/revocations", body={"subject": "session", "value": "0" * 32})
    assert (answer.status, answer.code) == (404, "NoSuchEntity")


@pytest.mark.parametrize(
    "body",
    [
        {"subject": "planet", "value": "x"},
        {"subject": "grant", "value": "a b"},
        {"subject": "client", "value": "x" * 257},
        {"subject": "session", "value": "x"},
        {"subject": "session", "value": "0" * 32 + "\n"},
        {"subject": "access_key", "value": "short"},
        {"subject": "source_identity", "value": "a b"},
        {"subject": "account", "value": "１１１１１１１１１１１１"},
        {"subject": "account", "value": OPERATOR, "account": "*"},
        {"subject": "account", "value": OPERATOR, "block_until": 1},
        {"subject": "account", "value": OPERATOR, "block_until": 2**60},
        {"subject": "account", "value": OPERATOR, "block_until": 1.5},
        {"subject": "account", "value": OPERATOR, "reason": "a\u0000b"},
        {"subject": "account", "value": ""},
    ],
)
@UNTOUCHED
async def test_revoke_with_bad_input_is_a_validation_error_and_revokes_nobody(
    untouched: Server, body: dict[str, object]
) -> None:
    answer = await untouched.api(ROOT, "POST", "/revocations", body=body)
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert (await untouched.api(ROOT, "GET", "/revocations")).json["revocations"] == []


async def test_list_revocations_goes_on_from_page_to_page(server: Server) -> None:
    made = [(await revoke(server, ROOT, "source_identity", f"id-{n}", force=True))["id"] for n in range(3)]
    first = (await server.api(ROOT, "GET", "/revocations", {"limit": 2})).json
    second = (await server.api(ROOT, "GET", "/revocations", {"limit": 2, "after": first["next"]})).json
    assert [r["id"] for r in first["revocations"] + second["revocations"]] == made
    assert second["next"] == ""


async def test_lift_of_a_block_lets_the_subject_in_again_and_is_on_the_record(server: Server) -> None:
    user, alice, first, parent, _, _ = await chain(server)
    made = await revoke(server, ROOT, "principal", user.id, block=True)
    assert not await server.works(parent)
    lifted = await server.api(ROOT, "POST", f"/revocations/{made['id']}/lift", body={"reason": "the key is rotated"})
    assert lifted.status == 200, lifted.body
    assert lifted.json["block_until"] is not None
    assert await server.works(await server.assume(alice, first.arn))
    assert not await server.works(parent), "what the revocation ended stays ended"
    event = next(e for e in await server.events() if e["type"] == "block.lifted")
    assert event["detail"]["revocation"] == made["id"]
    assert event["detail"]["reason"] == "the key is rotated"
    assert event["decision"]


async def test_lift_of_what_does_not_block_is_refused(server: Server) -> None:
    user, *_ = await chain(server)
    made = await revoke(server, ROOT, "principal", user.id)
    answer = await server.api(ROOT, "POST", f"/revocations/{made['id']}/lift")
    assert answer.status == 400
    assert "does not block" in answer.json["error"]["message"]
    again = await revoke(server, ROOT, "principal", user.id, block=True)
    assert (await server.api(ROOT, "POST", f"/revocations/{again['id']}/lift")).status == 200
    assert (await server.api(ROOT, "POST", f"/revocations/{again['id']}/lift")).status == 400


async def test_lift_needs_the_permission_on_what_is_blocked(server: Server) -> None:
    user, _, first, _, _, _ = await chain(server)
    statements = [
        {"Effect": "Allow", "Action": "daypass:LiftBlock", "Resource": f"arn:aws:daypass::{OPERATOR}:role/{first.id}"},
        {"Effect": "Allow", "Action": "iam:DeleteRolePolicy", "Resource": first.arn},
    ]
    _, key = await server.user("responder", OPERATOR, json.dumps({"Version": "2012-10-17", "Statement": statements}))
    other = await revoke(server, ROOT, "principal", user.id, block=True)
    denied = await server.api(key, "POST", f"/revocations/{other['id']}/lift")
    assert denied.code == "AccessDenied"
    made = await revoke(server, ROOT, "role", first.id, block=True)
    assert (await server.api(key, "POST", f"/revocations/{made['id']}/lift")).status == 200


async def test_a230_lift_without_the_permission_does_not_tell_who_is_blocked(server: Server) -> None:
    await chain(server)
    _, key = await server.user("nobody", OPERATOR, ASSUME)
    own = await revoke(server, ROOT, "source_identity", "alice", block=True)
    foreign = await revoke(server, TENANT_ROOT, "source_identity", "carol", block=True, force=True)
    none = (await server.api(key, "POST", f"/revocations/{'0' * 32}/lift")).json["error"]
    assert none["code"] == "AccessDenied"
    for made in (own, foreign):
        denied = (await server.api(key, "POST", f"/revocations/{made['id']}/lift")).json["error"]
        assert denied["message"].replace(str(made["id"]), "0" * 32) == none["message"]
        [event] = [each for each in await server.events() if str(made["id"]) in str(each) and each.get("error")]
        assert event["error"] == "access_denied"


async def test_lift_of_another_accounts_block_answers_as_for_none(server: Server) -> None:
    user, *_ = await chain(server)
    made = await revoke(server, ROOT, "principal", user.id, block=True)
    theirs = await server.api(TENANT_ROOT, "POST", f"/revocations/{made['id']}/lift")
    none = await server.api(TENANT_ROOT, "POST", f"/revocations/{'0' * 32}/lift")
    assert (theirs.status, theirs.code) == (none.status, none.code) == (404, "NoSuchEntity")
    assert theirs.json["error"]["message"].replace(str(made["id"]), "0" * 32) == none.json["error"]["message"]
    tenants = await revoke(server, TENANT_ROOT, "account", TENANT, block=True)
    assert (await server.api(ROOT, "POST", f"/revocations/{tenants['id']}/lift")).status == 200, "the operator may"


async def test_revoke_beyond_the_quota_is_refused_except_of_what_is_stored(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _, first, _, _, _ = await chain(server)
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 1)
    await revoke(server, ROOT, "principal", "AIDA" + "A" * 17, force=True)
    await revoke(server, ROOT, "source_identity", "alice", force=True)
    full = await server.api(
        ROOT, "POST", "/revocations", body={"subject": "source_identity", "value": "bob", "force": True}
    )
    assert (full.status, full.code) == (409, "LimitExceeded")
    assert "quota" in full.json["error"]["message"]
    denied = [e for e in await server.events() if e.get("error") == "limit_exceeded"]
    assert len(denied) == 1
    for subject, value in (("principal", user.id), ("role", first.id), ("account", OPERATOR)):
        await revoke(server, ROOT, subject, value)


async def test_revoke_beyond_the_quota_of_a_user_with_a_temporary_block_is_possible(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only more temporary blocks beside the first one are refused."""
    user, *_ = await chain(server)
    until = server.runtime.clock.now() + 3_600_000
    await revoke(server, ROOT, "principal", user.id, block=True, block_until=until)
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 1)
    body = {"subject": "principal", "value": user.id, "block": True, "block_until": until + 1}
    assert (await server.api(ROOT, "POST", "/revocations", body=body)).code == "LimitExceeded"
    kept = [await revoke(server, ROOT, "principal", user.id, block=block) for block in (False, False, True, True)]
    assert len({each["id"] for each in kept}) == 1
    listed = (await server.api(ROOT, "GET", "/revocations")).json["revocations"]
    assert [each["block"] for each in listed] == [True, True]


async def test_a246_operator_revokes_in_an_account_that_has_used_up_its_quota(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 1)
    monkeypatch.setattr(revocation, "RESERVED", 1)
    await revoke(server, TENANT_ROOT, "access_key", "ASIA" + "A" * 16, force=True)
    body = {"subject": "access_key", "value": "ASIA" + "B" * 16, "force": True}
    assert (await server.api(TENANT_ROOT, "POST", "/revocations", body=body)).code == "LimitExceeded"
    await revoke(server, ROOT, "access_key", "ASIA" + "B" * 16, force=True, account=TENANT)
    more = {**body, "value": "ASIA" + "C" * 16, "account": TENANT}
    assert (await server.api(ROOT, "POST", "/revocations", body=more)).code == "LimitExceeded"


async def test_revoke_again_keeps_one_revocation_and_ends_the_sessions_between(server: Server) -> None:
    user, alice, first, parent, _, _ = await chain(server)
    made = await revoke(server, ROOT, "principal", user.id, reason="first")
    between = await server.assume(alice, first.arn)
    again = await revoke(server, ROOT, "principal", user.id, reason="second")
    assert (again["id"], again["reason"]) == (made["id"], "second")
    assert not await server.works(parent)
    assert not await server.works(between)
    assert await server.works(await server.assume(alice, first.arn))
    listed = (await server.api(ROOT, "GET", "/revocations")).json["revocations"]
    assert [each["reason"] for each in listed] == ["second"]
    events = [e for e in await server.events() if e["type"] == "session.revoked"]
    assert {e["detail"]["reason"] for e in events} == {"first", "second"}


async def test_block_again_after_lifting_needs_no_further_revocation(server: Server) -> None:
    user, alice, first, _, _, _ = await chain(server)
    made = await revoke(server, ROOT, "principal", user.id, block=True)
    for _ in range(3):
        assert (await server.api(ROOT, "POST", f"/revocations/{made['id']}/lift")).status == 200
        between = await server.assume(alice, first.arn)
        again = await revoke(server, ROOT, "principal", user.id, block=True)
        assert (again["id"], again["block_until"]) == (made["id"], None)
        assert not await server.works(between)
    assert len((await server.api(ROOT, "GET", "/revocations")).json["revocations"]) == 1


async def test_revoke_what_is_blocked_without_an_end_returns_the_block(server: Server) -> None:
    user, *_ = await chain(server)
    made = await revoke(server, ROOT, "principal", user.id, block=True, reason="first")
    for more in ({}, {"block": True}):
        again = await revoke(server, ROOT, "principal", user.id, reason="second", **more)
        assert (again["id"], again["reason"], again["block"]) == (made["id"], "first", True)


async def test_policies_see_the_tags_of_whom_a_revocation_is_about(server: Server) -> None:
    user, alice, first, parent, _, _ = await chain(server)
    team = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "red"}
    await server.iam(ROOT, "TagUser", UserName=user.name, **team)
    await server.iam(ROOT, "TagRole", RoleName=first.name, **team)
    statement = {"Effect": "Allow", "Action": "daypass:RevokeSession", "Resource": "*"}
    condition = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]})
    _, red_key = await server.user("red", OPERATOR, document)
    _, blue_key = await server.user("blue", OPERATOR, document)
    await server.iam(ROOT, "TagUser", UserName="red", **team)
    session = (await server.session_of(parent))["session_id"]
    for subject, value in (("session", session), ("role", first.id), ("principal", user.arn), ("access_key", alice.id)):
        body = {"subject": subject, "value": value}
        assert (await server.api(blue_key, "POST", "/revocations", body=body)).code == "AccessDenied"
        assert (await server.api(red_key, "POST", "/revocations", body=body)).status == 201, subject


async def test_revoke_with_dry_run_counts_the_sessions_and_revokes_nothing(server: Server) -> None:
    user, _, _, parent, _, child = await chain(server)
    body = {"subject": "principal", "value": user.id, "block": True, "dry_run": True}
    answer = await server.api(ROOT, "POST", "/revocations", body=body)
    assert answer.json["dry_run"] is True
    assert (answer.json["sessions_ended"], answer.json["sessions_complete"]) == (2, True)
    expiries = [(await server.session_of(key))["expires_at"] for key in (parent, child)]
    assert answer.json["last_expiry"] == max(expiries)
    assert await server.works(parent)
    assert await server.works(child)
    assert (await server.api(ROOT, "GET", "/revocations")).json["revocations"] == []
    event = next(e for e in await server.events() if e.get("operation") == "daypass:RevokeSession")
    assert (event["type"], event["detail"]["dry_run"]) == ("request.allowed", True)


async def test_revoke_with_dry_run_needs_the_permission(server: Server) -> None:
    user, alice, *_ = await chain(server)
    body = {"subject": "principal", "value": user.id, "dry_run": True}
    assert (await server.api(alice, "POST", "/revocations", body=body)).code == "AccessDenied"


@pytest.mark.parametrize("subject", ["grant", "client"])
async def test_revoke_of_a_grant_or_client_that_no_session_has_takes_force(server: Server, subject: str) -> None:
    body = {"subject": subject, "value": "g-1"}
    assert (await server.api(ROOT, "POST", "/revocations", body=body)).code == "NoSuchEntity"
    made = await revoke(server, ROOT, subject, "g-1", force=True, block=True)
    assert (made["subject"], made["value"], made["sessions_ended"]) == (subject, "g-1", 0)


async def test_revoke_of_a_client_that_exists_needs_no_force_and_is_of_its_account(server: Server) -> None:
    settings = {
        "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/cb"],
        "grant_types": ["authorization_code"],
    }
    body = {"name": "app", "settings": settings}
    made = await server.api(TENANT_ROOT, "POST", "/clients", body=body)
    assert made.status == 201, made.body
    client = made.json["client_id"]
    assert (await revoke(server, TENANT_ROOT, "client", client))["sessions_ended"] == 0
    assert (await revoke(server, ROOT, "client", client))["account"] == TENANT
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    assert (await server.api(alice, "POST", "/revocations", body={"subject": "client", "value": client})).status == 403
