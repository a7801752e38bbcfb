from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Key, Server, policy

from daypass.domain.directory import Role, User

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
        await revoke(server, TENANT_ROOT, subject, value)
    assert await server.works(parent)
    assert await server.works(child)


async def test_revoke_for_another_account_is_for_the_operator_alone(server: Server) -> None:
    *_, child = await chain(server)
    body = {"subject": "account", "value": OPERATOR, "account": OPERATOR}
    assert (await server.api(TENANT_ROOT, "POST", "/revocations", body=body)).code == "AccessDenied"
    made = await revoke(server, ROOT, "account", TENANT, account=TENANT)
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
        {"subject": "grant", "value": "x"},
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
        {"subject": "account", "value": OPERATOR, "reason": "\ud800"},
        {"subject": "account", "value": ""},
    ],
)
async def test_revoke_with_bad_input_is_a_validation_error_and_revokes_nobody(
    server: Server, body: dict[str, object]
) -> None:
    answer = await server.api(ROOT, "POST", "/revocations", body=body)
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert (await server.api(ROOT, "GET", "/revocations")).json["revocations"] == []


async def test_list_revocations_goes_on_from_page_to_page(server: Server) -> None:
    made = [(await revoke(server, ROOT, "source_identity", f"id-{n}"))["id"] for n in range(3)]
    first = (await server.api(ROOT, "GET", "/revocations", {"limit": 2})).json
    second = (await server.api(ROOT, "GET", "/revocations", {"limit": 2, "after": first["next"]})).json
    assert [r["id"] for r in first["revocations"] + second["revocations"]] == made
    assert second["next"] == ""
