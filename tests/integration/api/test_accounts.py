from __future__ import annotations

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT_ROOT, UNTOUCHED, Key, Server, policy


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
