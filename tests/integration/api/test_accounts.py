"""Accounts with their guardrails, roles to assume, and blocks that are part of each answer about access."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, UNTOUCHED, Key, Server, policy

from daypass.domain.directory import Role, User
from daypass.operations.blocks import NO_CREDENTIALS


async def test_create_account_with_root_key_gives_a_key_that_works_and_shows_it_once(server: Server) -> None:
    made = await server.api(ROOT, "POST", "/accounts", body={"name": "Orders", "id": "333333333333", "root_key": True})
    assert made.status == 201, made.body
    key = Key(made.json["root_key"]["access_key_id"], made.json["root_key"]["secret_access_key"])
    identity = await server.sts(key, "GetCallerIdentity")
    assert identity.findtext(".//Arn") == "arn:aws:iam::333333333333:root"
    listed = await server.api(ROOT, "GET", "/accounts")
    assert [a["id"] for a in listed.json["accounts"]] == ["111111111111", "222222222222", "333333333333"]
    event = next(e for e in await server.events() if e["type"] == "account.created")
    assert event["detail"] == {"account": "333333333333", "name": "Orders", "root_key": key.id}
    assert key.secret not in str(await server.events())


async def test_create_account_without_id_chooses_a_free_one(server: Server) -> None:
    made = [(await server.api(ROOT, "POST", "/accounts", body={"name": "x"})).json for _ in range(2)]
    assert len({m["id"] for m in made}) == 2
    assert all(len(m["id"]) == 12 and m["id"].isdigit() and m["root_key"] is None for m in made)


async def test_create_account_that_exists_is_refused(server: Server) -> None:
    answer = await server.api(ROOT, "POST", "/accounts", body={"name": "x", "id": "222222222222"})
    assert (answer.status, answer.code) == (409, "EntityAlreadyExists")


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"name": "a\nb"},
        {"name": " x"},
        {"name": "x", "id": "12345678901"},
        {"name": "x", "id": "١" * 12},
        {"name": "x", "id": "12345678901\n"},
        {"name": "x", "root_key": "yes"},
        {"name": "x", "more": 1},
        {},
        [],
        None,
    ],
)
@UNTOUCHED
async def test_create_account_with_bad_input_is_a_validation_error(untouched: Server, body: object) -> None:
    answer = await untouched.api(ROOT, "POST", "/accounts", body=body)
    assert (answer.status, answer.code) == (400, "ValidationError")


async def test_accounts_are_for_the_operators_principals_whatever_their_policies(server: Server) -> None:
    for method, body in (("GET", None), ("POST", {"name": "x"})):
        answer = await server.api(TENANT_ROOT, method, "/accounts", body=body)
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert "for the operator account alone" in answer.json["error"]["message"]


async def test_accounts_need_a_policy_within_the_operator_account_and_explain_a_denial(server: Server) -> None:
    _, key = await server.user("nobody", OPERATOR)
    denied = await server.api(key, "GET", "/accounts")
    assert denied.code == "AccessDenied"
    message = denied.json["error"]["encoded_authorization_message"]
    decoded = await server.sts(ROOT, "DecodeAuthorizationMessage", EncodedMessage=message)
    assert "daypass:ListAccounts" in decoded.findtext(".//DecodedMessage", "")
    _, key = await server.user("lister", OPERATOR, policy("daypass:ListAccounts"))
    assert (await server.api(key, "GET", "/accounts")).status == 200
    assert (await server.api(key, "POST", "/accounts", body={"name": "x"})).code == "AccessDenied"


async def test_list_accounts_goes_on_from_page_to_page(server: Server) -> None:
    first = await server.api(ROOT, "GET", "/accounts", {"limit": 1})
    assert [a["id"] for a in first.json["accounts"]] == ["111111111111"]
    second = await server.api(ROOT, "GET", "/accounts", {"limit": 1, "after": first.json["next"]})
    assert [a["id"] for a in second.json["accounts"]] == ["222222222222"]
    assert second.json["next"] == ""


ALLOW_ALL = policy("*")


def path(account: str, name: str = "") -> str:
    return f"/accounts/{account}/guardrails" + (f"/{name}" if name else "")


async def test_put_guardrail_bounds_even_the_root_of_the_account(server: Server) -> None:
    await server.role("r", TENANT, TENANT)
    assert (await server.api(TENANT_ROOT, "GET", "/sessions")).status == 200
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}'
    assert (await server.api(ROOT, "PUT", path(TENANT, "only-iam"), body={"document": text})).status == 200
    assert (await server.api(TENANT_ROOT, "GET", "/sessions")).code == "AccessDenied"
    assert (await server.api(ROOT, "DELETE", path(TENANT, "only-iam"))).status == 204
    assert (await server.api(TENANT_ROOT, "GET", "/sessions")).status == 200


async def test_guardrail_is_read_by_its_account_and_changed_by_the_operator_alone(server: Server) -> None:
    await server.api(ROOT, "PUT", path(TENANT, "g"), body={"document": ALLOW_ALL})
    shown = await server.api(TENANT_ROOT, "GET", path(TENANT, "g"))
    assert shown.json["document"] == ALLOW_ALL
    assert [g["name"] for g in (await server.api(TENANT_ROOT, "GET", path(TENANT))).json["guardrails"]] == ["g"]
    for method, body in (("PUT", {"document": ALLOW_ALL}), ("DELETE", None)):
        assert (await server.api(TENANT_ROOT, method, path(TENANT, "g"), body=body)).code == "AccessDenied"
    assert (await server.api(TENANT_ROOT, "GET", path(OPERATOR))).code == "AccessDenied"


async def test_put_guardrail_that_allows_nothing_is_noted_on_the_record(server: Server) -> None:
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:*","Resource":"*"}]}'
    assert (await server.api(ROOT, "PUT", path(TENANT, "g"), body={"document": text})).status == 200
    found = await server.api(ROOT, "GET", "/audit/records", {"operation": "daypass:PutGuardrail", "account": "*"})
    assert '"lint": ["error guardrail-allows-nothing 1:1"]' in json.dumps(found.json)


async def test_put_guardrail_again_replaces_the_text(server: Server) -> None:
    await server.api(ROOT, "PUT", path(TENANT, "g"), body={"document": ALLOW_ALL})
    other = policy("s3:*")
    await server.api(ROOT, "PUT", path(TENANT, "g"), body={"document": other})
    assert [g["document"] for g in (await server.api(ROOT, "GET", path(TENANT))).json["guardrails"]] == [other]


async def test_put_guardrail_that_would_lock_its_maker_out_is_refused(server: Server) -> None:
    answer = await server.api(ROOT, "PUT", path(OPERATOR, "oops"), body={"document": policy("s3:*")})
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert '"Effect": "Allow", "Action": "*"' in answer.json["error"]["message"]
    assert (await server.api(ROOT, "GET", path(OPERATOR))).json["guardrails"] == []
    assert (await server.api(ROOT, "PUT", path(OPERATOR, "fine"), body={"document": ALLOW_ALL})).status == 200
    deny = policy("daypass:*", effect="Deny")
    assert (await server.api(ROOT, "PUT", path(OPERATOR, "oops"), body={"document": deny})).status == 400


async def test_put_guardrail_over_the_quota_is_refused(server: Server) -> None:
    for n in range(5):
        assert (await server.api(ROOT, "PUT", path(TENANT, f"g{n}"), body={"document": ALLOW_ALL})).status == 200
    assert (await server.api(ROOT, "PUT", path(TENANT, "g5"), body={"document": ALLOW_ALL})).code == "LimitExceeded"


@pytest.mark.parametrize(
    ("where", "document", "code"),
    [
        (path(TENANT, "g"), "{}", "MalformedPolicyDocument"),
        (path(TENANT, "g"), "[" * 5000, "MalformedPolicyDocument"),
        (
            path(TENANT, "g"),
            '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}',
            "MalformedPolicyDocument",
        ),
        (path(TENANT, "a b"), ALLOW_ALL, "ValidationError"),
        (path(TENANT, "g\n"), ALLOW_ALL, "ValidationError"),
        (path("999999999999", "g"), ALLOW_ALL, "NoSuchEntity"),
        (path("12", "g"), ALLOW_ALL, "ValidationError"),
    ],
)
@UNTOUCHED
async def test_put_guardrail_with_bad_input_is_refused(untouched: Server, where: str, document: str, code: str) -> None:
    answer = await untouched.api(ROOT, "PUT", where, body={"document": document})
    assert answer.code == code


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_guardrail_that_is_not_there_is_not_found(server: Server, method: str) -> None:
    assert (await server.api(ROOT, method, path(TENANT, "none"))).code == "NoSuchEntity"


PATH = "/roles/{}/settings"
_EXCEEDS = "The requested DurationSeconds exceeds the"


async def test_put_role_settings_lets_chained_sessions_last_longer_and_no_others(server: Server) -> None:
    _, key = await server.user("ana", TENANT, policy("sts:AssumeRole"))
    first = await server.role("first", TENANT, TENANT, policy("sts:AssumeRole"))
    statement = {"Effect": "Allow", "Principal": {"AWS": first.arn}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    env = server.runtime.env
    second = Role(
        env.ids.unique("AROA"), TENANT, "second", "/", 0, trust, ((first.arn, first.id),), max_session_seconds=14_400
    )
    await server.write(second)
    session = await server.assume(key, first.arn)

    async def chained(seconds: int) -> str:
        asked = {"RoleArn": second.arn, "RoleSessionName": "hop", "DurationSeconds": str(seconds)}
        answer = await server.sts(session, "AssumeRole", **asked)
        return answer.findtext(".//Message", "") or "ok"

    assert await chained(7200) == f"{_EXCEEDS} 1 hour session limit for roles assumed by role chaining."
    answer = await server.api(TENANT_ROOT, "PUT", PATH.format("second"), body={"chained_max_seconds": 7200})
    assert answer.json == {"arn": second.arn, "chained_max_seconds": 7200}
    assert await chained(7200) == "ok"
    assert await chained(7201) == f"{_EXCEEDS} 7200 second session limit for roles assumed by role chaining."
    assert (await server.api(TENANT_ROOT, "GET", PATH.format("second"))).json["chained_max_seconds"] == 7200


async def test_put_role_settings_out_of_bounds_or_of_others_is_refused(server: Server) -> None:
    await server.role("r", TENANT, TENANT)
    for seconds in (899, 43_201):
        body = {"chained_max_seconds": seconds}
        assert (await server.api(TENANT_ROOT, "PUT", PATH.format("r"), body=body)).code == "ValidationError"
    body = {"chained_max_seconds": 900}
    assert (await server.api(TENANT_ROOT, "PUT", PATH.format("none"), body=body)).code == "NoSuchEntity"
    assert (await server.api(ROOT, "PUT", PATH.format("r"), body=body)).code == "NoSuchEntity"
    assert (await server.api(ROOT, "PUT", PATH.format("r"), {"account": TENANT}, body=body)).status == 200
    _, key = await server.user("nobody", TENANT)
    assert (await server.api(key, "PUT", PATH.format("r"), body=body)).code == "AccessDenied"


async def test_service_linked_role_is_assumed_by_nobody(server: Server) -> None:
    await server.iam(ROOT, "CreateServiceLinkedRole", AWSServiceName="autoscaling.amazonaws.com")
    arn = f"arn:aws:iam::{OPERATOR}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    _, everything = await server.user("everything", OPERATOR, policy("*"))
    answer = await server.query(everything, "sts", "2011-06-15", "AssumeRole", RoleArn=arn, RoleSessionName="mine")
    assert answer.status == 403
    record = next(e for e in await server.events() if e.get("operation") == "sts:AssumeRole")
    assert (record["type"], record["error"]) == ("request.denied", "access_denied")


ACTION = "orders:Read"
ASSUME = "sts:AssumeRole"


class Office:
    """alice, who may read orders and assume `work`, and bob, who may the same."""

    def __init__(self, server: Server, alice: User, key: Key, bob: Key, work: Role) -> None:
        self.server, self.alice, self.key, self.bob, self.work = server, alice, key, bob, work

    async def simulated(self, principal: str, action: str, resource: str = "*") -> dict[str, Any]:
        body = {"principal": principal, "actions": [action], "resources": [resource]}
        found: dict[str, Any] = (await self.server.api(ROOT, "POST", "/simulate", body=body)).json["results"][0]
        return found

    async def who_can(self, action: str, resource: str = "*") -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        query = {"action": action, "resource": resource, "denied": "true"}
        while True:
            page = (await self.server.api(ROOT, "GET", "/access/who-can", query)).json
            found |= {entry["principal"]: entry for entry in page["access"]}
            if not page["next"]:
                return found
            query["after"] = page["next"]

    async def what_can(self) -> dict[str, Any]:
        found: dict[str, Any] = (
            await self.server.api(ROOT, "GET", "/access/what-can", {"principal": self.alice.arn})
        ).json
        return found

    async def revoke(self, subject: str, value: str) -> str:
        body = {"subject": subject, "value": value, "block": True}
        answer = await self.server.api(ROOT, "POST", "/revocations", body=body)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])


@pytest.fixture
async def office(server: Server) -> Office:
    alice, key = await server.user("alice", OPERATOR, policy(ACTION, ASSUME))
    _, bob = await server.user("bob", OPERATOR, policy(ACTION, ASSUME))
    return Office(server, alice, key, bob, await server.role("work", OPERATOR, OPERATOR, policy(ACTION)))


async def test_questions_about_a_user_who_was_offboarded_are_answered_as_its_requests(office: Office) -> None:
    before = await office.simulated(office.alice.arn, ACTION)
    assert (before["decision"], before["note"]) == ("allowed", "")
    body = {"user": "alice", "reason": "left"}
    made = (await office.server.api(ROOT, "POST", "/offboardings", body=body)).json
    block = f"block by revocation {made['revocations'][0]['id']}"
    assert not await office.server.works(office.key)
    for action, resource in ((ACTION, "*"), (ASSUME, office.work.arn)):
        after = await office.simulated(office.alice.arn, action, resource)
        assert (after["decision"], after["note"]) == ("explicit_deny", NO_CREDENTIALS)
        explanation = after["explanation"]
        assert (explanation["blocked_by"], explanation["determining"][0]["policy"]) == ("block", block)
        assert explanation["would_have_to_be_true"] == [f"the {block} would have to be lifted"]
        can = await office.who_can(action, resource)
        assert (can[office.alice.arn]["outcome"], can[office.alice.arn]["because"]) == ("denied", [block])
        assert can[f"arn:aws:iam::{OPERATOR}:user/bob"]["outcome"] == "allowed"
    what = await office.what_can()
    assert ([grant["extent"] for grant in what["grants"]], what["roles"]) == (["denied", "denied"], [])


@pytest.mark.parametrize("subject", ["role", "principal"])
async def test_questions_about_assuming_a_role_that_is_blocked_are_denied(office: Office, subject: str) -> None:
    block = f"block by revocation {await office.revoke(subject, office.work.id)}"
    assert (await office.simulated(office.alice.arn, ASSUME, office.work.arn))["decision"] == "explicit_deny"
    can = await office.who_can(ASSUME, office.work.arn)
    assert {entry["outcome"] for entry in can.values()} == {"denied"}
    assert can[office.alice.arn]["because"] == [block]
    assert (await office.what_can())["roles"] == []
    shared = await office.server.role("shared", OPERATOR, TENANT)
    outsider = f"arn:aws:iam::{TENANT}:root"
    assert (await office.who_can(ASSUME, shared.arn))[outsider]["outcome"] == "allowed"
    await office.revoke(subject, shared.id)
    assert (await office.who_can(ASSUME, shared.arn))[outsider]["outcome"] == "denied"
    assert (await office.server.api(office.bob, "GET", "/roles/assumable")).json["roles"] == []


async def test_questions_about_a_user_whose_keys_are_disabled_say_so(office: Office) -> None:
    parameters = {"UserName": "alice", "AccessKeyId": office.key.id, "Status": "Inactive"}
    await office.server.iam(ROOT, "UpdateAccessKey", **parameters)
    found = await office.simulated(office.alice.arn, ACTION)
    assert (found["decision"], found["note"]) == ("allowed", NO_CREDENTIALS), "sessions that it has go on"
    assert (await office.who_can(ACTION))[office.alice.arn]["note"] == NO_CREDENTIALS
    assert (await office.what_can())["note"] == NO_CREDENTIALS
    await office.server.iam(ROOT, "CreateLoginProfile", UserName="alice", Password="A-long-enough-one-7")
    assert (await office.simulated(office.alice.arn, ACTION))["note"] == ""


async def test_revocations_that_block_are_listed_alone_until_they_are_lifted(office: Office) -> None:
    made = await office.revoke("principal", office.alice.id)
    await office.server.api(ROOT, "POST", "/revocations", body={"subject": "principal", "value": office.work.id})

    async def blocks() -> list[str]:
        listed = await office.server.api(ROOT, "GET", "/revocations", {"blocks": "true"})
        return [revocation["id"] for revocation in listed.json["revocations"]]

    assert await blocks() == [made]
    await office.server.api(ROOT, "POST", f"/revocations/{made}/lift", body={"reason": "back"})
    assert await blocks() == []
