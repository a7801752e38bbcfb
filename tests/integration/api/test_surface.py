"""The surface of the API: what is open, the error's form, hostile input, and a search for a 500."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from tests.generated import cases
from tests.integration.api.conftest import ROOT, UNTOUCHED, Server

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.endpoints.table import OPERATIONS
from daypass.wire.json_errors import wire_error


async def test_description_is_open_and_loads_nothing_from_elsewhere(server: Server) -> None:
    described = await server.send("GET", "/api/v1/openapi.json")
    assert described.status == 200
    paths = described.json["paths"]
    assert len(paths) >= 12
    page = await server.send("GET", "/api/docs")
    assert page.status == 200
    text = page.body.decode()
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!/api/)', text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for operations in paths.values():
        for operation in operations.values():
            assert operation["operationId"] in text


async def test_description_names_actions_as_policies_do(server: Server) -> None:
    described = await server.send("GET", "/api/v1/openapi.json")
    text = (await server.send("GET", "/api/docs")).body.decode()
    summaries = {operation["summary"] for each in described.json["paths"].values() for operation in each.values()}
    assert summaries == {operation.name for operation in OPERATIONS}
    assert {"CreateAccount", "ReadAudit"} <= summaries  # not `Createaccount`
    assert all(f"<code>daypass:{summary}</code>" in text for summary in summaries)


async def test_every_operation_refuses_a_call_without_a_signature(server: Server) -> None:
    paths = (await server.send("GET", "/api/v1/openapi.json")).json["paths"]
    for path, operations in paths.items():
        for method in operations:
            answer = await server.send(method.upper(), re.sub(r"\{\w+\}", "1", path), body=b"{}")
            assert (answer.status, answer.code) == (403, "MissingAuthenticationToken"), (method, path)


@pytest.mark.parametrize("query", ["limit=1&limit=1", "limit=2&%6Cimit=1", "unknown=1&unknown=2"])
async def test_a369_parameter_that_is_given_twice_is_refused(server: Server, query: str) -> None:
    answer = await server.api(ROOT, "GET", "/accounts", query)
    assert (answer.status, answer.code) == (400, "MalformedInput")
    assert answer.json["error"]["message"] == "A parameter is given twice."


async def test_body_is_not_interpreted_before_its_signature(server: Server) -> None:
    answer = await server.send("POST", "/api/v1/accounts", headers={"content-type": "application/json"}, body=b"{")
    assert answer.code == "MissingAuthenticationToken"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"name":"a","name":"b"}', "MalformedInput"),
        (b'{"name":NaN}', "MalformedInput"),
        (b"[" * 100_000, "MalformedInput"),
        (b'{"name":' + b"9" * 5000 + b"}", "MalformedInput"),
        (b"\xff\xfe", "MalformedInput"),
        ('{"name":"x"}'.encode("utf-16"), "MalformedInput"),
        (b'{"name":"\\ud800"}', "MalformedInput"),
        (b'{"name":"x","id":null}', "ValidationError"),
        (b"null", "ValidationError"),
        (b"x" * 262_145, "RequestEntityTooLarge"),
    ],
)
@UNTOUCHED
async def test_create_account_with_a_hostile_body_is_refused_in_the_apis_form(
    untouched: Server, body: bytes, code: str
) -> None:
    answer = await untouched.api(ROOT, "POST", "/accounts", body=body)
    assert answer.code == code
    assert answer.json["error"]["request_id"] == answer.headers["x-amzn-requestid"]


async def test_body_of_another_content_type_is_refused(server: Server) -> None:
    answer = await server.api(ROOT, "POST", "/accounts", body=b'{"name":"x"}', content_type="text/plain")
    assert (answer.status, answer.code) == (400, "ValidationError")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=１", "account=x", "account=1%0A", "odd=1"]
)
@UNTOUCHED
async def test_list_sessions_with_a_bad_query_is_a_validation_error(untouched: Server, query: str) -> None:
    answer = await untouched.api(ROOT, "GET", "/sessions", quote(query, safe="=&%"))
    assert (answer.status, answer.code) == (400, "ValidationError")


async def test_unknown_path_and_method_are_answered_in_the_apis_form(server: Server) -> None:
    assert (await server.api(ROOT, "GET", "/nothing")).status == 404
    answer = await server.api(ROOT, "DELETE", "/accounts")
    assert (answer.status, answer.code) == (405, "UnknownOperation")
    assert answer.headers["allow"] == "GET, POST"


async def test_call_that_cannot_be_recorded_is_unavailable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be kept.")

    monkeypatch.setattr(type(server.runtime.env.journal), "commit", broken)
    for answer in (await server.api(ROOT, "GET", "/accounts"), await server.send("GET", "/api/v1/accounts")):
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")


async def test_unexpected_failure_is_a_constant_500_without_a_word_of_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(type(server.runtime.env.directory), "read", broken)
    answer = await server.api(ROOT, "GET", "/accounts")
    assert (answer.status, answer.code) == (500, "InternalFailure")
    assert answer.json["error"]["request_id"] == answer.headers["x-amzn-requestid"]
    assert b"canary" not in answer.body


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_error_kind_has_a_code_and_a_status(kind: ErrorKind) -> None:
    code, status = wire_error(kind)
    assert code.isalpha()
    assert 400 <= status <= 503
    assert status != 500


@pytest.mark.slow
async def test_described_operations_never_answer_500_to_generated_requests(server: Server) -> None:
    """schemathesis makes requests from the description, good and bad; they are signed and sent by us."""
    described = (await server.send("GET", "/api/v1/openapi.json")).json
    counted: dict[int, int] = {}
    made = cases(described, 8)
    for case in made:
        answer = await server.api(ROOT, case.method, *as_call(case))
        counted[answer.status] = counted.get(answer.status, 0) + 1
        assert answer.status < 500, (case.method, case.path, case.query, case.body, answer.body)
    assert len(made) > 100
    assert {200, 400, 404} <= counted.keys()


def as_call(case: Any) -> tuple[str, str, Any]:
    path = case.path.removeprefix("/api/v1")
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    pairs = [(n, v) for n, vs in (case.query or {}).items() for v in (vs if isinstance(vs, list) else [vs])]
    query = "&".join(f"{quote(str(n), safe='')}={quote(str(v), safe='')}" for n, v in pairs)
    body = case.body
    if isinstance(body, (dict, list, str, int, float)) or body is None:
        return path, query, json.dumps(body).encode()
    return path, query, b"" if not isinstance(body, bytes) else body


async def test_pages_without_a_public_url_are_off_and_their_refusal_has_its_style(server: Server) -> None:
    refused = await server.send("GET", "/console/")
    assert refused.status == 404
    assert "Set server.public_url" in refused.body.decode()
    sheets = re.findall(r'<link rel="stylesheet" href="([^"]+)"', refused.body.decode())
    assert sheets
    assert {(await server.send("GET", sheet)).status for sheet in sheets} == {200}
