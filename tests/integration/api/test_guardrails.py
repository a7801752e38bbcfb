from __future__ import annotations

import json

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, UNTOUCHED, Server, policy

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
