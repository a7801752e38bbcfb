from __future__ import annotations

import json

from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Server, policy

OPEN = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}'


async def test_lint_document_finds_what_a_document_says_against_its_author(server: Server) -> None:
    answer = await server.api(TENANT_ROOT, "POST", "/lint", body={"document": OPEN, "kind": "trust"})
    [finding] = answer.json["findings"]
    assert (finding["id"], finding["severity"], finding["line"]) == ("trust-public", "error", 1)
    assert (await server.api(TENANT_ROOT, "POST", "/lint", body={"document": "{"})).json["findings"][0][
        "id"
    ] == "malformed"


async def test_lint_document_for_a_role_considers_what_the_role_may_do(server: Server) -> None:
    await server.role("harmless", TENANT, TENANT)
    await server.role("powerful", TENANT, TENANT, policy("*"))
    trust = json.loads(OPEN)
    trust["Statement"]["Principal"] = {"AWS": TENANT}
    body = {"document": json.dumps(trust), "kind": "trust"}

    async def found(role: str) -> set[str]:
        answer = await server.api(TENANT_ROOT, "POST", "/lint", body={**body, "role": role})
        return {finding["id"] for finding in answer.json["findings"]}

    assert await found("powerful") - await found("harmless") == {"trust-no-mfa"}
    assert (await server.api(TENANT_ROOT, "POST", "/lint", body={**body, "role": "none"})).code == "NoSuchEntity"


async def test_lint_account_pages_through_all_that_is_stored_and_only_there(server: Server) -> None:
    for name in ("a", "b", "c"):
        await server.role(name, TENANT, TENANT, policy("iam:CreateAccessKey"))
    await server.role("foreign", OPERATOR, OPERATOR)
    found, after = [], ""
    for _ in range(20):
        page = (await server.api(TENANT_ROOT, "GET", "/lint", {"limit": 1, "after": after})).json
        found += page["policies"]
        after = page["next"]
        if not after:
            break
    assert not after
    escalating = [p["arn"] for p in found if "grant-escalation" in {f["id"] for f in p["findings"]}]
    assert escalating == [f"arn:aws:iam::{TENANT}:role/{name}" for name in ("a", "b", "c")]
    assert all(f":{TENANT}:" in p["arn"] for p in found)


async def test_lint_account_of_others_is_for_the_operator_alone(server: Server) -> None:
    assert (await server.api(TENANT_ROOT, "GET", "/lint", {"account": OPERATOR})).code == "AccessDenied"
    assert (await server.api(ROOT, "GET", "/lint", {"account": TENANT})).status == 200
    assert (await server.api(TENANT_ROOT, "GET", "/lint", {"after": "planet:"})).code == "ValidationError"
