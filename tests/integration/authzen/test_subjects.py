"""Who a question may be about, what of the request becomes a context key, and what the caller may know of the reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, BETA, EVERYTHING, ROOT, ROOT_OF_BETA, Answer, document, trust
from tests.integration.authzen.conftest import PEP, World, ask
from tests.oauth import PRESIGNED, authorization_server, bearer, exchange, given, presigned

from daypass.domain.policy import budget
from daypass.operations import heavy

EVALUATION = "/access/v1/evaluation"
TODO = f"arn:aws:todo::{ALPHA}:"
EDITOR = document(
    {"Action": ["todo:can_read_todos", "todo:can_create_todo"], "Resource": "*"},
    {
        "Action": ["todo:can_update_todo", "todo:can_delete_todo"],
        "Resource": f"{TODO}*",
        "Condition": {"StringEquals": {"aws:ResourceTag/ownerID": "${aws:username}"}},
    },
)
VIEWER = document({"Action": "todo:can_read_todos", "Resource": "*"})


@pytest.fixture(scope="module")
def todo(world: World) -> World:
    """The people of the to-do application: an editor and a viewer."""
    for name, policy in (("morty", EDITOR), ("beth", VIEWER)):
        world.site.iam("CreateUser", ROOT, UserName=name)
        world.site.iam("PutUserPolicy", ROOT, UserName=name, PolicyName="p", PolicyDocument=policy)
    return world


@pytest.mark.parametrize(
    ("who", "action", "owner", "allowed"),
    [
        ("morty", "can_read_todos", None, True),
        ("morty", "can_create_todo", None, True),
        ("morty", "can_update_todo", "morty", True),
        ("morty", "can_update_todo", "rick", False),
        ("morty", "can_delete_todo", "rick", False),
        ("beth", "can_read_todos", None, True),
        ("beth", "can_create_todo", None, False),
        ("beth", "can_update_todo", "beth", False),
        ("jerry", "can_read_todos", None, False),
    ],
)
def test_evaluation_of_the_todo_application(
    todo: World, who: str, action: str, owner: str | None, allowed: bool
) -> None:
    resource: dict[str, Any] = {"type": "todo", "id": "7240d0db"}
    if owner is not None:
        resource["properties"] = {"ownerID": owner}
    question = {"subject": {"type": "user", "id": who}, "action": {"name": action}, "resource": resource}
    assert todo.decision(question)["decision"] is allowed


def test_a195_resource_of_an_application_does_not_escape_a_deny_by_the_id_of_a_wildcard(world: World) -> None:
    policy = document(
        {"Action": "shop:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "shop:Refund", "Resource": f"arn:aws:shop::{ALPHA}:*"},
    )
    world.site.user("gina", policy=policy)
    asked = question("user", "gina", "Refund", "7")
    for identity in ("7", "*", "**", " *"):
        resource = {"type": "shop", "id": identity}
        assert world.decision({**asked, "resource": resource})["decision"] is False
        assert world.decision({**asked, "action": {"name": "Sell"}, "resource": resource})["decision"] is True


def test_resource_of_an_action_without_one_is_the_wildcard_for_services_of_this_server(world: World) -> None:
    world.site.user("hugo", policy=document({"Action": "iam:*", "Resource": f"arn:aws:iam::{ALPHA}:*"}))
    asked = question("user", "hugo", "GetAccountPasswordPolicy", "*")
    assert world.decision({**asked, "resource": {"type": "iam", "id": "*"}})["decision"] is False


def question(subject_type: str, subject: str, action: str, resource: str, **more: Any) -> dict[str, Any]:
    return {
        "subject": {"type": subject_type, "id": subject},
        "action": {"name": action},
        "resource": {"type": "any", "id": resource},
        **more,
    }


@pytest.fixture(scope="module")
def staff(world: World) -> dict[str, str]:
    """A role with a policy over a user's own ARNs, one of its sessions with a session policy, and its access token."""
    arn, key = world.site.user("dora", policy=EVERYTHING)
    orders = "arn:aws:orders:eu-central-1::order/"
    policy = document({"Action": "orders:*", "Resource": orders + "*"})
    role = world.site.role("staff", trust(arn), policy=policy)
    only_one = document({"Action": "*", "Resource": orders + "1"})
    session = world.site.assume(key, role, "desk", Policy=only_one).key
    subject = presigned(world.site, session)
    token = str(given(exchange(world.site, subject, PRESIGNED))["access_token"])
    role_id = world.site.iam("GetRole", RoleName="staff").text("RoleId")
    return {
        "role": role,
        "user": arn,
        "session": f"arn:aws:sts::{ALPHA}:assumed-role/staff/desk",
        "userid": f"{role_id}:desk",
        "token": token,
        "orders": orders,
    }


def test_subject_by_every_name_is_decided_by_its_policies(world: World, staff: dict[str, str]) -> None:
    orders = staff["orders"]
    names = [
        ("role", "staff"),
        ("role", staff["role"]),
        ("principal", staff["role"]),
        ("session", staff["session"]),
        ("session", staff["userid"]),
        ("principal", staff["session"]),
        ("user", staff["user"]),
        ("principal", staff["user"]),
        ("user", "dora"),
    ]
    items = [question(kind, name, "orders:Ship", orders + "2") for kind, name in names]
    assert world.decisions({"evaluations": items}) == [True] * len(names)
    others = [question(kind, name, "stock:Count", orders + "2") for kind, name in names[:6]]
    assert world.decisions({"evaluations": others}) == [False] * 6


def test_subject_by_access_token_has_its_session_policy(world: World, staff: dict[str, str]) -> None:
    items = [question("access_token", staff["token"], "orders:Ship", staff["orders"] + name) for name in "12"]
    assert world.decisions({"evaluations": items}) == [True, False]


def test_subject_by_session_arn_matches_its_name_in_conditions(world: World, staff: dict[str, str]) -> None:
    world.site.iam(
        "PutRolePolicy",
        RoleName="staff",
        PolicyName="own",
        PolicyDocument=document(
            {"Action": "desk:Use", "Resource": "*", "Condition": {"StringLike": {"aws:userid": "*:desk"}}}
        ),
    )
    other = f"arn:aws:sts::{ALPHA}:assumed-role/staff/other"
    items = [question("session", one, "desk:Use", "*") for one in (staff["session"], other)]
    assert world.decisions({"evaluations": items}) == [True, False]


def test_assume_role_is_decided_with_the_trust_policy(world: World, staff: dict[str, str]) -> None:
    admin = f"arn:aws:iam::{ALPHA}:user/admin"  # may do everything, and is not trusted
    missing = f"arn:aws:iam::{ALPHA}:role/missing"
    asked = [(staff["user"], staff["role"]), (admin, staff["role"]), (staff["user"], missing)]
    items = [question("principal", who, "sts:AssumeRole", role) for who, role in asked]
    assert world.decisions({"evaluations": items}) == [True, False, False]
    body = {
        "subject": {"type": "user"},
        "action": {"name": "sts:AssumeRole"},
        "resource": {"type": "iam", "id": "role/staff"},
    }
    assert [one["id"] for one in world.found("subject", body)["results"]] == ["dora"]
    roles = {
        "subject": {"type": "user", "id": "dora"},
        "action": {"name": "sts:AssumeRole"},
        "resource": {"type": "iam"},
    }
    assert [one["id"] for one in world.found("resource", roles)["results"]] == ["role/staff"]


def test_resource_of_another_account_is_denied(world: World, staff: dict[str, str]) -> None:
    body = question("user", staff["user"], "s3:GetObject", f"arn:aws:orders::{BETA}:order/1")
    assert world.decision(body)["decision"] is False
    assert world.decision(question("user", "dora", "s3:GetObject", "arn:aws:s3:::bucket/key"))["decision"] is True


# --- What is never believed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "aws:PrincipalTag/team",
        "aws:PrincipalArn",
        "aws:MultiFactorAuthPresent",
        "aws:SourceIdentity",
        "aws:CurrentTime",
        "aws:userid",
        "daypass:Approved",
        "saml:sub",
    ],
)
def test_context_key_that_only_the_server_sets_is_refused(world: World, key: str) -> None:
    answer = world.decision(ask("alice", "read", "record-1", context={key: "true"}))
    assert answer["decision"] is False
    assert key in answer["context"]["error"]["message"]


def test_context_of_the_request_has_keys_of_its_own(world: World) -> None:
    conditions = {
        "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
        "StringEquals": {"daypass:RequestContext/device/kind": "phone", "shop:Channel": "web"},
        "ForAnyValue:StringEquals": {"daypass:RequestContext/groups": "b"},
        "NumericLessThan": {"daypass:RequestContext/amount": "10"},
    }
    world.site.iam("CreateUser", UserName="erin")
    policy = document({"Action": "shop:Buy", "Resource": "*", "Condition": conditions})
    world.site.iam("PutUserPolicy", UserName="erin", PolicyName="p", PolicyDocument=policy)
    context = {
        "aws:SourceIp": "192.0.2.7",
        "device": {"kind": "phone"},
        "shop:Channel": "web",
        "groups": ["a", "b"],
        "amount": 9.5,
        "nothing": None,
    }
    assert world.decision(question("user", "erin", "shop:Buy", "*", context=context))["decision"] is True
    for name, wrong in (("aws:SourceIp", "198.51.100.1"), ("groups", ["a"]), ("amount", 10), ("device", {})):
        changed = {**context, name: wrong}
        assert world.decision(question("user", "erin", "shop:Buy", "*", context=changed))["decision"] is False


def test_subject_that_is_blocked_or_revoked_is_denied(world: World) -> None:
    arn, key = world.site.user("frank", policy=EVERYTHING)
    role = world.site.role("frank-role", trust(arn), policy=EVERYTHING)
    session = world.site.assume(key, role).key
    granted = exchange(world.site, presigned(world.site, session), PRESIGNED)
    token = given(granted)["access_token"]
    asked = [question("user", "frank", "a:b", "*"), question("access_token", token, "a:b", "*")]
    assert world.decisions({"evaluations": asked}) == [True, True]
    body = json.dumps({"subject": "principal", "value": arn, "block": True}).encode()
    path = "/api/v1/revocations"
    headers = world.site.signed(ROOT, body, "daypass", path=path, extra={"content-type": "application/json"})
    made = world.site.send("POST", headers, body, path=path.encode())
    assert made.status == 201, made.body
    assert world.decisions({"evaluations": asked}) == [False, False]


# --- Reasons, callers and the record ---------------------------------------------------------------------------------


def test_reasons_are_encoded_for_a_caller_who_may_not_see_them(world: World) -> None:
    denied = ask("bob", "write", "record-1")
    encoded = world.decision(denied)["context"]
    assert list(encoded) == ["encoded_authorization_message"]
    message = encoded["encoded_authorization_message"]
    decoded = world.site.call(ROOT, "DecodeAuthorizationMessage", {"EncodedMessage": message})
    assert "record:write" in decoded.text("DecodedMessage")
    shown = world.decision(denied, ROOT)["context"]
    assert "record:write" in shown["reason_admin"]["en"]
    assert shown["explanation"]["allowed"] is False
    assert world.decision({**denied, "options": {"reasons": False}}, ROOT) == {"decision": False}


def test_evaluations_have_reasons_when_they_are_asked_for(world: World) -> None:
    items = [ask("bob", "write", f"record-{n}") for n in range(3, 43)]  # more than the event loop explains
    for reasons in (False, True):
        body = {"evaluations": items, "options": {"reasons": reasons}}
        answers = json.loads(world.ask("/access/v1/evaluations", body, ROOT).body)["evaluations"]
        assert {("context" in one, one["decision"]) for one in answers} == {(reasons, False)}
        assert len(answers) == 40


def test_evaluation_by_access_token_is_served(world: World) -> None:
    arn, key = world.site.user("gus", policy=EVERYTHING)
    role = world.site.role("pep-role", trust(arn), policy=PEP)
    session = world.site.assume(key, role).key
    token = given(exchange(world.site, presigned(world.site, session), PRESIGNED))["access_token"]
    body = json.dumps(ask("alice", "read", "record-1")).encode()
    headers = [(b"content-type", b"application/json"), bearer(token)]
    answer = world.site.send("POST", headers, body, path=EVALUATION.encode())
    assert json.loads(answer.body) == {"decision": True}


def _sent(world: World, headers: list[tuple[bytes, bytes]]) -> Answer:
    body = json.dumps(ask("alice", "read", "record-1")).encode()
    return world.site.send("POST", [(b"content-type", b"application/json"), *headers], body, path=EVALUATION.encode())


def test_evaluation_without_credentials_is_401_and_recorded(world: World) -> None:
    for headers, challenge in (([], 'Bearer realm="daypass"'), ([bearer("junk")], 'Bearer error="invalid_token"')):
        answer = _sent(world, headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, challenge)
        assert world.site.records(answer.request_id)[0]["operation"] == "daypass:EvaluateAccess"


def test_evaluation_without_permission_is_403_and_recorded(world: World) -> None:
    _, key = world.site.user("hal")
    answer = world.ask(EVALUATION, ask("alice", "read", "record-1"), key)
    assert answer.status == 403
    assert [body["type"] for body in world.site.records(answer.request_id)] == ["request.denied"]


def test_evaluation_of_another_accounts_subject_is_403_whether_it_exists_or_not(world: World) -> None:
    _, theirs = world.site.user("ida", ROOT_OF_BETA, policy=EVERYTHING)
    answers = []
    for name in ("alice", "nobody-at-all"):
        body = ask(f"arn:aws:iam::{ALPHA}:user/{name}", "read", "record-1")
        answer = world.ask(EVALUATION, body, theirs)
        answers.append((answer.status, answer.body.replace(answer.request_id.encode(), b"")))
    assert answers[0][0] == 403
    assert answers[0][1] == answers[1][1]


def test_evaluations_are_on_the_record_without_the_token(world: World, staff: dict[str, str]) -> None:
    items = [question("access_token", staff["token"], "orders:Ship", staff["orders"] + name) for name in "12"]
    answer = world.ask("/access/v1/evaluations", {"evaluations": items})
    (record,) = world.site.records(answer.request_id)
    assert record["type"] == "request.allowed"
    assert (record["detail"]["evaluations"], record["detail"]["denied"]) == (2, 1)
    assert record["detail"]["decisions"][0]["subject"] == {"type": "access_token", "id": staff["session"]}
    assert staff["token"] not in json.dumps(record)


def test_evaluations_of_large_policies_leave_the_event_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [f"*{n:02}?{'a*' * 20}" for n in range(60)]
    policy = document(
        {"Action": "big:Do", "Resource": "*", "Condition": {"StringLike": {"daypass:RequestContext/t": patterns}}}
    )
    arn = world.site.iam("CreatePolicy", PolicyName="big", PolicyDocument=policy).text("Arn")
    world.site.iam("CreateUser", UserName="big")
    world.site.iam("AttachUserPolicy", UserName="big", PolicyArn=arn)
    moved = []
    compute = heavy.compute

    async def counted(env: Any, account: str, work: Any, *args: Any, **more: Any) -> Any:
        moved.append(work)
        return await compute(env, account, work, *args, **more)

    monkeypatch.setattr(heavy, "compute", counted)
    small, large = "x", "07" + "xa" * 2_000
    for text, offloaded in ((small, 0), (large, 1)):
        del moved[:]
        body = {"evaluations": [question("user", "big", "big:Do", "*", context={"t": text})] * 3}
        assert world.decisions(body) == [bool(offloaded)] * 3
        assert len(moved) == offloaded


def test_evaluations_over_the_budget_are_refused_as_a_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "OPERATION", 400)
    body = {"evaluations": [ask("alice", "read", "record-1")] * 20}
    answer = world.ask("/access/v1/evaluations", body)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "LimitExceeded")
    assert world.site.records(answer.request_id)[0]["error"] == "limit_exceeded"


def test_evaluations_are_recorded_as_the_setting_says(tmp_path: Path) -> None:
    with authorization_server(tmp_path, authzen={"record": "denied"}) as site:
        site.iam("CreateUser", UserName="alice")
        site.iam(
            "PutUserPolicy",
            UserName="alice",
            PolicyName="p",
            PolicyDocument=document({"Action": "a:b", "Resource": "*"}),
        )
        world = World(site, ROOT)
        for action, count in (("a:b", 0), ("a:c", 1)):
            answer = world.ask(EVALUATION, question("user", "alice", action, "*"))
            assert len(site.records(answer.request_id)) == count
