"""`daypass browser`, `access own`, `request roles` and `iam` over a scripted server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.unit.client.servers import as_json, parameters, result, xml

pytestmark = pytest.mark.usefixtures("key")

BROWSER = {
    "session_id": "ab",
    "created_at": 1_800_000_000_000,
    "used_at": 1_800_000_060_000,
    "expires_at": 1_800_030_000_000,
    "source_ip": "192.0.2.1",
    "user_agent": "Fire\x1b[2Jfox",
}
USERS = (
    '<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult><IsTruncated>false</IsTruncated><Users>'
    "<member><UserName>ann</UserName><Tags><member><Key>k</Key><Value>v</Value></member></Tags></member></Users></ListUsersResult>"
    "</ListUsersResponse>"
)


def test_browser_ls_lists_them_without_control_characters(cli: Any, serve: Any) -> None:
    server = serve(as_json({"browser_sessions": [BROWSER]}))
    ran = cli("browser", "ls")
    assert "192.0.2.1" in ran.out
    assert "\x1b" not in ran.out
    assert (server.sent[0].method, server.sent[0].target) == ("GET", "/api/v1/browser-sessions")


def test_browser_end_names_the_session_in_the_path(cli: Any, serve: Any) -> None:
    server = serve(as_json({}, status=204))
    assert cli("browser", "end", "a/b").status == 0
    assert (server.sent[0].method, server.sent[0].target) == ("DELETE", "/api/v1/browser-sessions/a%2Fb")


def test_access_own_lists_grants_and_requests(cli: Any, serve: Any) -> None:
    grant = {"role": "arn:r", "state": "claimed", "ends_at": 1_800_000_000_000, "request_id": "q1"}
    request = {"roles": ["arn:r2", "arn:r3"], "state": "pending", "id": "q2"}
    granted = {"roles": ["arn:r"], "state": "claimed", "id": "q1"}
    serve(as_json({"grants": [grant], "access_requests": [granted, request], "mfa_devices": []}))
    lines = cli("access", "own").out.splitlines()
    assert lines[1].split() == ["arn:r", "claimed", "2027-01-15", "08:00:00Z", "q1"]
    assert lines[2].split() == ["arn:r2,", "arn:r3", "pending", "q2"]


def test_access_own_and_request_roles_without_any_say_what_to_do(cli: Any, serve: Any) -> None:
    serve(as_json({"grants": [], "access_requests": [], "mfa_devices": []}), as_json({"roles": [], "next": ""}))
    assert "daypass request roles" in cli("access", "own").err
    assert "daypass roles" in cli("request", "roles").err


def test_request_roles_lists_each_page(cli: Any, serve: Any) -> None:
    role = {
        "arn": "arn:r", "rule": "prod", "stages": ["lead"], "max_seconds": 3600, "ticket_required": True, "break_glass": False
    }  # fmt: skip
    server = serve(as_json({"roles": [role], "next": "r"}), as_json({"roles": [{**role, "stages": []}], "next": ""}))
    lines = cli("request", "roles").out.splitlines()
    assert lines[1].split() == ["arn:r", "prod", "lead", "1h", "00m", "yes"]
    assert "automatic" in lines[2]
    assert "after=r" in server.sent[1].target


def test_iam_sends_the_parameters_and_prints_the_answer_as_json(cli: Any, serve: Any, tmp_path: Path) -> None:
    server = serve(xml(USERS))
    (tmp_path / "text").write_text("from a file", "utf-8")
    ran = cli("iam", "ListUsers", "PathPrefix=/a=b/", f"Marker=@{tmp_path}/text", "--output", "json")
    assert json.loads(ran.out) == {
        "IsTruncated": "false",
        "Users": [{"UserName": "ann", "Tags": [{"Key": "k", "Value": "v"}]}],
    }
    sent = parse_qs(server.sent[0].body.decode())
    assert (sent["Action"], sent["PathPrefix"], sent["Marker"]) == (["ListUsers"], ["/a=b/"], ["from a file"])


@pytest.mark.parametrize(
    "given",
    [("listUsers",), ("ListUsers", "x"), ("ListUsers", "x=1"), ("ListUsers", "A=1", "A=2"),
     ("List Users",)],
)  # fmt: skip
def test_iam_what_is_no_call_is_refused_before_anything_is_sent(cli: Any, serve: Any, given: tuple[str, ...]) -> None:
    server = serve(xml(USERS))
    assert cli("iam", *given).status == 2
    assert server.sent == []


@pytest.mark.parametrize("given", [(), ("--name", "")])
def test_anchor_set_without_a_change_is_refused(cli: Any, serve: Any, given: tuple[str, ...]) -> None:
    server = serve(as_json({}))
    assert cli("anchor", "set", "a1", "--yes", *given).status == 2
    assert server.sent == []


def test_anchor_set_replaces_name_and_certificates(cli: Any, serve: Any, tmp_path: Path) -> None:
    found = {"trustAnchorId": "a1", "name": "ours", "trustAnchorArn": "arn:a1", "enabled": True}
    server = serve(as_json({"trustAnchor": {**found, "source": {"sourceData": {"x509CertificateData": "PEM"}}}}))
    (tmp_path / "ca.pem").write_text("PEM", "utf-8")
    ran = cli("anchor", "set", "a1", "--name", "ours", "--certificates", f"{tmp_path}/ca.pem", "--yes")
    assert ran.status == 0, ran.err
    assert (server.sent[0].method, server.sent[0].target) == ("PATCH", "/trustanchor/a1")
    assert json.loads(server.sent[0].body) == {
        "name": "ours",
        "source": {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": "PEM"}},
    }


def test_access_own_says_which_request_gives_nothing_any_more(cli: Any, serve: Any) -> None:
    request = {
        "id": "r1",
        "roles": ["arn:aws:iam::1:role/prod"],
        "state": "approved",
        "refused": {"g1": "it was revoked"},
    }
    serve(as_json({"grants": [], "access_requests": [request]}))
    assert "approved, refused now" in cli("access", "own").out


def test_token_denied_by_policy_ends_with_the_status_of_a_denial(cli: Any, serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    denial = {"error": "invalid_request", "error_description": "User: a is not authorized", "request_id": "r-7"}
    metadata = as_json({"issuer": "http://localhost:8700"})
    serve(metadata, as_json({**denial, "encoded_authorization_message": "AQ=="}, 400))
    ran = cli("token", "--audience", "https://orders.example")
    assert ran.status == 4
    assert ran.err.startswith("daypass: AccessDenied: User: a is not authorized (request r-7)\n")
    assert "daypass explain r-7" in ran.err
    serve(metadata, as_json(denial, 400))
    assert cli("token", "--audience", "https://orders.example").status == 7


def test_request_create_break_glass_without_the_name_asks_no_server(cli: Any, serve: Any) -> None:
    server = serve()
    role = "arn:aws:iam::111122223333:role/prod/orders"
    ran = cli("request", "create", role, "--reason", "all is down", "--break-glass", "--confirm", "prod")
    assert (ran.status, "--confirm orders" in ran.err, server.sent) == (2, True, [])


def test_access_own_of_an_approver_counts_the_requests_on_a_line_of_their_own(cli: Any, serve: Any) -> None:
    serve(as_json({"grants": [], "access_requests": [], "mfa_devices": [], "waiting": [{}, {}]}))
    assert "\n2 requests for your decision: daypass request ls --inbox\n" in cli("access", "own").out


def test_token_of_a_long_term_key_asks_for_a_session_of_an_hour(cli: Any, serve: Any) -> None:
    made = (
        "<Credentials><AccessKeyId>ASIA0000000000000001</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t"
        "</SessionToken><Expiration>2027-01-15T09:00:00Z</Expiration></Credentials>"
    )
    metadata = as_json({"issuer": "http://localhost:8700"})
    server = serve(result("GetSessionToken", made), metadata, as_json({"access_token": "ey.x"}))
    assert cli("token", "--audience", "https://orders.example").out == "ey.x\n"
    assert parameters(server.sent[0])["DurationSeconds"] == "3600"
