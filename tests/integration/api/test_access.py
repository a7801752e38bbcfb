"""Simulate, who can and what can, over the whole server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy.event import listens_for
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Key, Server, policy

from daypass.domain.directory import (
    Attachment,
    Group,
    Guardrail,
    InlinePolicy,
    ManagedPolicy,
    Membership,
    PolicyVersion,
    Role,
    User,
)
from daypass.operations.access import snapshot
from daypass.operations.access import what_can as what_can_module

ITEM = f"arn:aws:orders:eu:{TENANT}:item/1"


def when(action: str, effect: str = "Allow", **condition: Any) -> str:
    statement = {"Sid": "when", "Effect": effect, "Action": action, "Resource": "*", "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


async def simulate(server: Server, key: Key = TENANT_ROOT, **body: Any) -> list[dict[str, Any]]:
    answer = await server.api(key, "POST", "/simulate", body=body)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["results"]
    return found


async def who_can(server: Server, action: str, resource: str = "*", **query: Any) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        asked = {"action": action, "resource": resource, **query, **({"after": after} if after else {})}
        answer = await server.api(TENANT_ROOT, "GET", "/access/who-can", asked)
        assert answer.status == 200, answer.body
        found += answer.json["access"]
        after = answer.json["next"]
        if not after:
            return {entry["principal"]: entry for entry in found}


async def put_role(server: Server, name: str, trust: dict[str, Any], account: str = TENANT, **bindings: str) -> Role:
    env = server.runtime.env
    text = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **trust}]})
    role = Role(env.ids.unique("AROA"), account, name, "/", 0, text, tuple(bindings.items()))
    await server.write(role)
    return role


# --- The budget of one operation


async def test_a113_simulate_over_the_budget_of_an_operation_is_refused_with_an_explanation(server: Server) -> None:
    heavy = when("orders:Read", StringLike={"aws:UserAgent": [f"*?b{number}?*" for number in range(600)]})
    body = {
        "actions": ["orders:Read"],
        "resources": [f"{ITEM}{number}" for number in range(100)],
        "policies": [heavy] * 4,
        "context": {"aws:UserAgent": "b" * 500},
    }
    answer = await server.api(TENANT_ROOT, "POST", "/simulate", body=body)
    assert (answer.status, answer.code) == (409, "LimitExceeded"), answer.body[:500]
    assert "steps" in answer.body.decode()
    [event] = [e for e in await server.events() if e.get("operation") == "daypass:SimulateAccess"]
    assert (event["type"], event["error"]) == ("request.failed", "limit_exceeded")
    assert event["detail"]["private"] == {"reason": "steps"}


async def test_a113_who_can_page_ends_when_the_budget_of_an_operation_is_used_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await server.user(f"user{number}", TENANT, policy("orders:Read"))
    whole = await who_can(server, "orders:Read", denied="true")
    monkeypatch.setattr(snapshot, "OPERATION", 200)  # a decision is charged 50 steps at least
    query = {"action": "orders:Read", "resource": "*", "denied": "true"}
    first = await server.api(TENANT_ROOT, "GET", "/access/who-can", query)
    assert 0 < len(first.json["access"]) < len(whole)
    assert first.json["next"]
    assert await who_can(server, "orders:Read", denied="true") == whole
    monkeypatch.setattr(snapshot, "OPERATION", 20)
    refused = await server.api(TENANT_ROOT, "GET", "/access/who-can", query)
    assert (refused.status, refused.code) == (409, "LimitExceeded")


async def test_a113_what_can_page_ends_when_the_budget_of_an_operation_is_used_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _ = await server.user("alice", TENANT, policy("sts:AssumeRole"))
    for name in "abcdef":
        await server.role(name, TENANT, TENANT)
    monkeypatch.setattr(snapshot, "OPERATION", 170)
    names, after = [], ""
    for _ in range(10):
        query = {"principal": user.arn, **({"after": after} if after else {})}
        page = (await server.api(TENANT_ROOT, "GET", "/access/what-can", query)).json
        assert len(page["roles"]) < 6
        names += [role["principal"][-1] for role in page["roles"]]
        if not (after := page["next"]):
            break
    assert names == list("abcdef")


# --- Simulate


async def test_simulate_explains_each_action_on_each_resource(server: Server) -> None:
    user, _ = await server.user("alice", TENANT, policy("orders:Read", resource=ITEM))
    results = await simulate(
        server, principal=user.arn, actions=["orders:Read", "orders:Write"], resources=[ITEM, ITEM + "1"]
    )
    assert [(r["action"], r["resource"], r["decision"]) for r in results] == [
        ("orders:Read", ITEM, "allowed"),
        ("orders:Read", ITEM + "1", "implicit_deny"),
        ("orders:Write", ITEM, "implicit_deny"),
        ("orders:Write", ITEM + "1", "implicit_deny"),
    ]
    near = results[1]["explanation"]["would_have_to_be_true"]
    assert f"the resource would have to match one of [{ITEM}]" in near[0]
    [event] = [e for e in await server.events() if e.get("operation") == "daypass:SimulateAccess"]
    assert event["detail"]["principal"] == user.arn


async def test_simulate_takes_policies_boundary_session_resource_policy_and_context(server: Server) -> None:
    allowed = {"actions": ["orders:Read"], "resources": [ITEM], "policies": [policy("orders:*")]}
    assert [r["decision"] for r in await simulate(server, **allowed)] == ["allowed"]
    for narrowing in (
        {"boundary": policy("orders:Write")},
        {"session_policies": [policy("orders:*"), policy("orders:Write")]},
    ):
        assert [r["decision"] for r in await simulate(server, **allowed, **narrowing)] == ["implicit_deny"]
    denied = {"policies": [policy("orders:*", effect="Deny")]}
    assert [r["decision"] for r in await simulate(server, **{**allowed, **denied})] == ["explicit_deny"]
    conditional = {**allowed, "policies": [when("orders:Read", **{"ForAllValues:StringEquals": {"k:a": ["x", "y"]}})]}
    assert [r["decision"] for r in await simulate(server, **conditional, context={"K:A": ["x"]})] == ["allowed"]
    assert [r["decision"] for r in await simulate(server, **conditional, context={"k:a": ["z"]})] == ["implicit_deny"]
    user, _ = await server.user("alice", TENANT)
    grant = {"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "orders:Read", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [grant]})
    asked = {"principal": user.arn, "actions": ["orders:Read"], "resource_policy": text}
    for resource, account, decision in (
        (ITEM, "", "allowed"),
        ("arn:aws:s3:::b", OPERATOR, "implicit_deny"),
        ("arn:aws:s3:::b", "", "allowed"),
    ):
        [result] = await simulate(server, **asked, resources=[resource], resource_account=account)
        assert result["decision"] == decision


async def test_simulate_assume_role_asks_the_trust_policy_with_the_keys_given(server: Server) -> None:
    user, key = await server.user("alice", TENANT, policy("sts:AssumeRole"))
    root = f"arn:aws:iam::{TENANT}:root"
    condition = {"StringEquals": {"sts:ExternalId": "blue"}}
    trust = {"Principal": {"AWS": root}, "Action": "sts:AssumeRole", "Condition": condition}
    role = await put_role(server, "deployer", trust)
    asked = {"principal": user.arn, "actions": ["sts:AssumeRole"], "resources": [role.arn]}
    [result] = await simulate(server, **asked)
    assert result["decision"] == "implicit_deny"
    assert "sts:ExternalId" in result["explanation"]["would_have_to_be_true"][0]
    [result] = await simulate(server, **asked, assumption={"external_id": "blue"})
    assert result["decision"] == "allowed"
    await server.assume(key, role.arn, ExternalId="blue")  # the runtime says the same
    [result] = await simulate(server, **asked, assumption={"external_id": "blue", "tags": {"team": "red"}})
    assert (result["decision"], result["explanation"]["action"]) == ("implicit_deny", "sts:TagSession")


async def test_simulate_session_of_a_role_is_what_a_resource_policy_names(server: Server) -> None:
    role = await server.role("worker", TENANT, TENANT)
    session = f"arn:aws:sts::{TENANT}:assumed-role/worker/s1"
    grant = {"Effect": "Allow", "Principal": {"AWS": session}, "Action": "orders:Read", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [grant]})
    asked = {"principal": role.arn, "actions": ["orders:Read"], "resources": [ITEM], "resource_policy": text}
    for name, decision in (("s1", "allowed"), ("s2", "implicit_deny"), ("", "implicit_deny")):
        assert [r["decision"] for r in await simulate(server, **asked, session_name=name)] == [decision]


async def test_simulate_role_of_another_account_is_left_to_that_account(server: Server) -> None:
    user, _ = await server.user("alice", TENANT, policy("sts:AssumeRole"))
    other, _ = await server.user("bob", TENANT)
    role = await server.role("theirs", OPERATOR, TENANT)
    for arn in (role.arn, f"arn:aws:iam::{OPERATOR}:role/none"):  # the same whether the role exists or not
        asked = {"actions": ["sts:AssumeRole"], "resources": [arn]}
        [result] = await simulate(server, principal=user.arn, **asked)
        assert (result["decision"], result["open_with"], result["explanation"]) == ("allowed", OPERATOR, None)
        [result] = await simulate(server, principal=other.arn, **asked)
        assert (result["decision"], result["open_with"]) == ("implicit_deny", "")
        assert [layer["layer"] for layer in result["explanation"]["layers"]] == ["identity"]


async def test_simulate_principal_of_another_account_is_asked_of_the_trust_policy_alone(server: Server) -> None:
    carol, _ = await server.user("carol", OPERATOR)
    dave, _ = await server.user("dave", OPERATOR)
    trust = {"Principal": {"AWS": carol.arn}, "Action": "sts:AssumeRole"}
    role = await put_role(server, "shared", trust, **{carol.arn: carol.id})
    asked = {"actions": ["sts:AssumeRole"], "resources": [role.arn]}
    [result] = await simulate(server, principal=carol.arn, **asked)
    assert (result["decision"], result["open_with"]) == ("allowed", OPERATOR)
    [result] = await simulate(server, principal=dave.arn, **asked)
    assert (result["decision"], result["open_with"]) == ("implicit_deny", "")
    answer = await server.api(TENANT_ROOT, "POST", "/simulate", body={"principal": carol.arn, "actions": ["x:y"]})
    assert answer.code == "ValidationError"


async def test_simulate_operator_sees_the_other_accounts_side(server: Server) -> None:
    user, _ = await server.user("op", OPERATOR, policy("sts:AssumeRole"))
    role = await server.role("theirs", TENANT, "333333333333")
    body = {"principal": user.arn, "actions": ["sts:AssumeRole"], "resources": [role.arn]}
    [result] = await simulate(server, ROOT, **body)
    assert (result["decision"], result["open_with"]) == ("implicit_deny", "")
    assert result["explanation"]["blocked_by"] == "resource"


async def test_simulate_refuses_bad_input(server: Server) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"actions": []}, "ValidationError"),
        ({"actions": ["orders:*"]}, "ValidationError"),
        ({"actions": ["x:y"], "principal": "alice"}, "ValidationError"),
        ({"actions": ["x:y"], "principal": f"arn:aws:iam::{TENANT}:root"}, "ValidationError"),
        ({"actions": ["x:y"], "principal": f"arn:aws:iam::{TENANT}:user/none"}, "NoSuchEntity"),
        ({"actions": ["x:y"], "principal": f"arn:aws:iam::{TENANT}:role/none"}, "NoSuchEntity"),
        ({"actions": ["x:y"], "policies": ["{}"]}, "MalformedPolicyDocument"),
        ({"actions": [f"x:y{n}" for n in range(60)], "resources": [str(n) for n in range(10)]}, "LimitExceeded"),
        ({"actions": ["x:y"], "context": {"a": 1}}, "ValidationError"),
        ({"actions": ["x:y"], "more": 1}, "ValidationError"),
    ]
    for body, code in bad:
        assert (await server.api(TENANT_ROOT, "POST", "/simulate", body=body)).code == code, body


async def test_simulate_who_can_and_what_can_need_permission(server: Server) -> None:
    user, key = await server.user("alice", TENANT)
    calls = (
        ("POST", "/simulate", None, {"actions": ["x:y"]}, "SimulateAccess"),
        ("GET", "/access/who-can", {"action": "x:y"}, None, "WhoCanAccess"),
        ("GET", "/access/what-can", {"principal": user.arn}, None, "WhatCanAccess"),
    )
    for method, path, query, body, action in calls:
        denied = await server.api(key, method, path, query, body)
        assert denied.code == "AccessDenied"
        assert f"daypass:{action} on resource: arn:aws:daypass::{TENANT}:access/*" in denied.json["error"]["message"]
        _, allowed = await server.user(f"may{action}", TENANT, policy(f"daypass:{action}"))
        assert (await server.api(allowed, method, path, query, body)).status == 200


# --- Who can


async def test_who_can_tells_allowed_allowed_if_and_denied_apart(server: Server) -> None:
    env = server.runtime.env
    await server.user("allowed", TENANT, policy("orders:Read"))
    other, _ = await server.user("other", TENANT, policy("orders:Write"))
    depends, _ = await server.user("depends", TENANT, when("orders:Read", IpAddress={"aws:SourceIp": "10.0.0.0/8"}))
    never, _ = await server.user("never", TENANT, when("orders:Read", StringEquals={"aws:username": "someone"}))
    unless, _ = await server.user("unless", TENANT, policy("orders:Read"))
    deny = when("*", "Deny", Bool={"aws:SecureTransport": "false"})
    group = Group(env.ids.unique("AGPA"), TENANT, "staff", "/", 0)
    member, _ = await server.user("member", TENANT)
    await server.write(
        InlinePolicy(TENANT, unless.id, "q", deny, 0),
        group,
        Membership(TENANT, group.id, member.id, 0),
        InlinePolicy(TENANT, group.id, "g", policy("orders:Read"), 0),
    )
    role = await server.role("worker", TENANT, TENANT, policy("orders:*", resource=ITEM))
    found = await who_can(server, "orders:Read", ITEM, limit=2)
    outcomes = {name.rpartition("/")[2].rpartition(":")[2]: entry["outcome"] for name, entry in found.items()}
    assert outcomes == {
        "root": "allowed",
        "allowed": "allowed",
        "depends": "allowed_if",
        "unless": "allowed_if",
        "member": "allowed",
        "worker": "allowed",
    }
    [condition] = found[depends.arn]["conditions"]
    assert (condition["effect"], condition["policy"], condition["sid"]) == ("Allow", "user/depends/p", "when")
    assert condition["conditions"] == [{"operator": "IpAddress", "key": "aws:SourceIp", "values": ["10.0.0.0/8"]}]
    [condition] = found[unless.arn]["conditions"]
    assert (condition["effect"], condition["policy"]) == ("Deny", "user/unless/q")
    everyone = await who_can(server, "orders:Read", ITEM, denied="true")
    assert everyone[never.arn]["outcome"] == everyone[other.arn]["outcome"] == "denied"
    assert len(everyone) == len(found) + 2
    assert {entry["kind"] for entry in everyone.values()} == {"root", "user", "role"}
    assert role.arn in everyone


async def test_who_can_many_principals_takes_few_statements_and_finds_the_same_as_an_evaluation_of_each(
    server: Server,
) -> None:
    env = server.runtime.env
    group = Group(env.ids.unique("AGPA"), TENANT, "staff", "/", 0)
    await server.write(group, InlinePolicy(TENANT, group.id, "g", policy("sts:AssumeRole"), 0))
    grants = ["", policy("orders:Write"), policy("orders:*"), policy("sts:*"), policy("s3:*")]
    users = [User(env.ids.unique("AIDA"), TENANT, f"user{n}", "/", 0) for n in range(60)]
    roles = [Role(env.ids.unique("AROA"), TENANT, f"role{n}", "/", 0, policy()) for n in range(60)]
    held = [InlinePolicy(TENANT, e.id, "p", grants[n % 5], 0) for n, e in enumerate([*users, *roles]) if n % 5]
    attached = [Attachment(TENANT, users[n].id, "arn:aws:iam::aws:policy/ReadOnlyAccess", 0) for n in (0, 5, 10)]
    members = [Membership(TENANT, group.id, user.id, 0) for user in users[20:30]]
    await server.write(*users, *roles, *held, *attached, *members)
    named = [f"arn:aws:iam::{TENANT}:root", users[0].arn, roles[0].id]
    trust = {"Principal": {"AWS": named}, "Action": "sts:AssumeRole"}
    target = await put_role(server, "target", trust, **{users[0].arn: users[0].id})
    statements: list[str] = []
    engine = server.runtime.database._backend.readers
    listens_for(engine, "before_cursor_execute")(lambda *given: statements.append(given[2]))
    for action, resource, least in (("orders:Read", ITEM, 24), ("sts:AssumeRole", target.arn, 34)):
        del statements[:]
        found = await who_can(server, action, resource)
        assert len([text for text in statements if "FROM inline_policies" in text]) < 12  # of 121 principals
        assert len([text for text in statements if "FROM attachments" in text]) < 12
        every = await who_can(server, action, resource, denied="true")
        assert found == {name: entry for name, entry in every.items() if entry["outcome"] != "denied"}
        assert least <= len(found) < len(every) > 120


async def test_h7_who_can_finds_everybody_however_the_statement_is_spelt_and_in_small_steps(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daypass.stores.tx._SCAN_ROWS", 1)
    monkeypatch.setattr("daypass.stores.tx._MOST_HOLDERS", 2)
    env = server.runtime.env
    spelt = [
        '"Action":"ORDERS:READ"',
        '"Action":["s3:Get","orders:R*d"]',
        '"Action":"\\u006frders:Read"',
        '"Action" : [ "*" ]',
        '"NotAction":"s3:*"',
    ]
    others = ['"Action":"s3:Get"', '"NotAction":"orders:*"', '"Action":"?rders:*"']
    users = [User(env.ids.unique("AIDA"), TENANT, f"user{n}", "/", 0) for n in range(20)]
    held = [
        InlinePolicy(
            TENANT,
            user.id,
            "p",
            f'{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{text},"Resource":"*"}}}}',
            0,
        )
        for user, text in zip(users, spelt + others, strict=False)
    ]
    await server.write(*users, *held)
    found = await who_can(server, "orders:Read", ITEM)
    assert {entry["principal"] for entry in found.values()} >= {user.arn for user in users[: len(spelt)]}
    assert not {user.arn for user in users[len(spelt) :]} & set(found)
    every = await who_can(server, "orders:Read", ITEM, denied="true")
    assert found == {name: entry for name, entry in every.items() if entry["outcome"] != "denied"}


async def test_who_can_guardrails_bound_everyone(server: Server) -> None:
    await server.user("alice", TENANT, policy("orders:Read"))
    await server.write(Guardrail(TENANT, "fence", policy("iam:*", "daypass:*"), 0))
    assert await who_can(server, "orders:Read") == {}


async def test_who_can_assume_a_role_includes_those_outside_the_account(server: Server) -> None:
    env = server.runtime.env
    carol, _ = await server.user("carol", OPERATOR)
    alice, _ = await server.user("alice", TENANT, policy("sts:AssumeRole"))
    await server.user("bob", TENANT)
    idp = f"arn:aws:iam::{TENANT}:oidc-provider/idp.example.com"
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam::{TENANT}:root", carol.arn]},
            "Action": "sts:AssumeRole",
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": "333333333333"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "x"}},
        },
        {"Effect": "Allow", "Principal": {"Service": "jobs.example.com"}, "Action": "sts:AssumeRole"},
        {
            "Effect": "Allow",
            "Principal": {"Federated": idp},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"idp.example.com:sub": "repo:a"}},
        },
    ]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    role = Role(env.ids.unique("AROA"), TENANT, "target", "/", 0, text, ((carol.arn, carol.id),))
    await server.write(role)
    found = await who_can(server, "sts:AssumeRole", role.arn)
    shown = {name: (e["kind"], e["outcome"], e["open_with"], e["action"]) for name, e in found.items()}
    assert shown == {
        alice.arn: ("user", "allowed", "", "sts:AssumeRole"),
        carol.arn: ("principal", "allowed", OPERATOR, "sts:AssumeRole"),
        "arn:aws:iam::333333333333:root": ("account", "allowed_if", "333333333333", "sts:AssumeRole"),
        "jobs.example.com": ("service", "allowed", "", "sts:AssumeRole"),
        idp: ("provider", "allowed_if", "", "sts:AssumeRoleWithWebIdentity"),
    }
    answer = await server.api(
        TENANT_ROOT, "GET", "/access/who-can", {"action": "sts:AssumeRole", "resource": role.arn + "x"}
    )
    assert answer.code == "NoSuchEntity"


async def test_who_can_names_sessions_ids_and_everyone_that_a_trust_policy_names(server: Server) -> None:
    alice, _ = await server.user("alice", TENANT)
    carol, _ = await server.user("carol", OPERATOR)
    names = {
        f"arn:aws:sts::{TENANT}:assumed-role/own/s1": "AROAOWNOWNOWNOWNOWNOW",
        f"arn:aws:sts::{OPERATOR}:assumed-role/other/s1": "AROAOTHEROTHEROTHEROT",
        f"arn:aws:iam::{OPERATOR}:role/gone": "",
    }
    principals = [*names, alice.id, carol.id, TENANT, alice.arn]
    trust = {"Principal": {"AWS": principals}, "Action": "sts:AssumeRole"}
    role = await put_role(server, "target", trust, **names, **{alice.arn: alice.id})
    found = await who_can(server, "sts:AssumeRole", role.arn, denied="true")
    shown = {name: (e["kind"], e["outcome"], e["open_with"]) for name, e in found.items() if name != role.arn}
    own, other, gone = names
    assert shown == {
        own: ("session", "allowed", ""),
        other: ("session", "allowed", OPERATOR),
        gone: ("principal", "denied", OPERATOR),  # what was named is not what is there now
        carol.id: ("principal", "allowed", "another account"),
        alice.arn: ("user", "allowed", ""),
    }
    everyone = await put_role(server, "open", {"Principal": "*", "Action": "sts:AssumeRole"})
    found = await who_can(server, "sts:AssumeRole", everyone.arn)
    assert (found["*"]["kind"], found["*"]["outcome"]) == ("anyone", "allowed")


async def test_who_can_on_another_accounts_resource_leaves_it_to_that_account(server: Server) -> None:
    await server.user("alice", TENANT, policy("sts:AssumeRole"))
    role = await server.role("theirs", OPERATOR, "333333333333")
    for arn in (role.arn, role.arn + "x"):
        found = await who_can(server, "sts:AssumeRole", arn)
        assert {entry["open_with"] for entry in found.values()} == {OPERATOR}


async def test_who_can_refuses_bad_input(server: Server) -> None:
    for more in ({"action": "orders"}, {"action": "orders:*"}, {"resource": "item"}, {"after": "x"}):
        query = {"action": "x:y", **more}
        assert (await server.api(TENANT_ROOT, "GET", "/access/who-can", query)).code == "ValidationError"


# --- What can


async def test_what_can_shows_what_is_left_of_each_grant(server: Server) -> None:
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "a", "Effect": "Allow", "Action": ["orders:Read", "orders:*"], "Resource": "*"},
                {"Sid": "b", "Effect": "Allow", "Action": "stock:Get", "Resource": "arn:aws:stock:::${aws:username}/*"},
                {"Sid": "c", "Effect": "Allow", "NotAction": "iam:*", "Resource": ITEM},
                {"Sid": "d", "Effect": "Allow", "Action": "pay:*", "Resource": "*"},
                {"Sid": "e", "Effect": "Allow", "Action": "ask:Me", "Resource": "arn:aws:ask:::${aws:SourceVpc}"},
                {"Effect": "Deny", "Action": "orders:Delete*", "Resource": "*"},
                {"Effect": "Deny", "Action": "pay:*", "Resource": "*"},
            ],
        }
    )
    user, _ = await server.user("alice", TENANT, text)
    extra = when("ship:Send", Bool={"aws:MultiFactorAuthPresent": "true"})
    await server.write(InlinePolicy(TENANT, user.id, "q", extra, 0))
    answer = await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": user.arn})
    assert answer.status == 200, answer.body
    grants = {(g["sid"], g["action"]): g for g in answer.json["grants"]}
    assert {key: g["extent"] for key, g in grants.items()} == {
        ("a", "orders:Read"): "allowed",
        ("a", "orders:*"): "partly",
        ("b", "stock:Get"): "allowed",
        ("c", "iam:*"): "partly",
        ("d", "pay:*"): "denied",
        ("e", "ask:Me"): "allowed_if",
        ("when", "ship:Send"): "allowed_if",
    }
    assert grants["a", "orders:*"]["limits"] == ["identity user/alice/p"]
    assert grants["d", "pay:*"]["limits"] == ["identity user/alice/p"]
    assert grants["c", "iam:*"]["not_action"]
    assert grants["when", "ship:Send"]["conditions"][0]["conditions"][0]["key"] == "aws:MultiFactorAuthPresent"
    assert not answer.json["more_grants"]


async def test_what_can_boundary_and_guardrail_leave_a_part(server: Server) -> None:
    env = server.runtime.env
    arn = f"arn:aws:iam::{TENANT}:policy/bound"
    role = Role(env.ids.unique("AROA"), TENANT, "worker", "/", 0, policy("sts:AssumeRole"), boundary_arn=arn)
    made = ManagedPolicy(env.ids.unique("ANPA"), TENANT, arn, "bound", "/", 0, 0)
    await server.write(
        role,
        InlinePolicy(TENANT, role.id, "p", policy("orders:*", "stock:*"), 0),
        made,
        PolicyVersion(TENANT, made.id, 1, policy("orders:Read", "stock:*"), 0),
        Guardrail(TENANT, "fence", policy("orders:*", "daypass:*"), 0),
    )
    answer = await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": role.arn})
    shown = {g["action"]: (g["extent"], g["limits"]) for g in answer.json["grants"]}
    assert shown == {"orders:*": ("partly", [f"boundary {arn}"]), "stock:*": ("denied", ["guardrail fence"])}


async def test_what_can_lists_roles_page_by_page(server: Server) -> None:
    user, _ = await server.user("alice", TENANT, policy("sts:AssumeRole"))
    for name in ("a", "b", "c"):
        await server.role(name, TENANT, TENANT if name != "b" else OPERATOR)
    seen: list[str] = []
    query = {"principal": user.arn, "limit": 2}
    first = (await server.api(TENANT_ROOT, "GET", "/access/what-can", query)).json
    second = (await server.api(TENANT_ROOT, "GET", "/access/what-can", {**query, "after": first["next"]})).json
    seen = [role["principal"] for page in (first, second) for role in page["roles"]]
    assert seen == [f"arn:aws:iam::{TENANT}:role/{name}" for name in ("a", "c")]
    assert (len(first["grants"]), second["grants"], second["next"]) == (1, [], "")
    [grant] = first["grants"]
    assert (grant["extent"], grant["limits"]) == ("partly", ["resource trust"])  # the roles' own say


async def test_what_can_elsewhere_is_left_to_the_other_account(server: Server) -> None:
    user, _ = await server.user("alice", TENANT, policy("orders:Read", resource=f"arn:aws:orders:eu:{OPERATOR}:item/1"))
    answer = await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": user.arn})
    [grant] = answer.json["grants"]
    assert (grant["extent"], grant["limits"]) == ("partly", [f"resource account {OPERATOR}"])


async def test_what_can_of_nobody_or_of_another_account_is_not_found(server: Server) -> None:
    user, _ = await server.user("carol", OPERATOR)
    assert isinstance(user, User)
    for arn, code in ((user.arn, "NoSuchEntity"), ("alice", "ValidationError")):
        assert (await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": arn})).code == code


async def test_what_can_of_thousands_of_actions_beside_a_deny_is_complete(server: Server) -> None:
    secret = "arn:aws:athena:*:*:workgroup/secret"
    denied = json.dumps({"Statement": {"Effect": "Deny", "Action": "athena:*", "Resource": secret}})
    reader = await server.role("limited-reader", TENANT, TENANT, denied)
    await server.write(Attachment(TENANT, reader.id, "arn:aws:iam::aws:policy/ReadOnlyAccess", 0))
    page = (await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": reader.arn})).json
    assert len(page["grants"]) == what_can_module.MAX_GRANTS
    by_service = {(grant["action"].partition(":")[0] == "athena", grant["extent"]) for grant in page["grants"]}
    assert by_service == {(True, "partly"), (False, "allowed")}


async def test_what_can_of_a_policy_with_thousands_of_actions_is_complete(server: Server) -> None:
    reader = await server.role("reader", TENANT, TENANT)
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    await server.write(Attachment(TENANT, reader.id, arn, server.runtime.clock.now()))
    page = (await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": reader.arn})).json
    assert len(page["grants"]) == what_can_module.MAX_GRANTS
    assert {grant["extent"] for grant in page["grants"]} == {"allowed"}
