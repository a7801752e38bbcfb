"""`daypass client` and `daypass resource-server` over a scripted server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import as_json, error

pytestmark = pytest.mark.usefixtures("key")

CLIENT = {
    "client_id": "DPCL1",
    "arn": "arn:aws:daypass::1:client/DPCL1",
    "name": "app",
    "type": "confidential",
    "enabled": True,
    "settings": {"jwks": {"keys": []}, "grant_types": ["client_credentials"]},
    "secrets": [{"id": "ab12", "created_at": 1}],
}
SERVER = {"identifier": "https://a", "arn": "arn:r", "name": "a", "settings": {"scopes": {"read": {}}}}


def test_client_create_sends_settings_and_the_keys_of_a_file(cli: Any, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text('{"keys": [{"kty": "EC"}]}')
    server = serve(as_json(CLIENT))
    ran = cli("client", "create", "app", f"jwks=@{tmp_path}/jwks.json", 'grant_types=["client_credentials"]')
    assert ran.status == 0, ran.err
    assert "DPCL1" in ran.out
    (sent,) = server.sent
    assert (sent.method, sent.target) == ("POST", "/api/v1/clients")
    settings = {"jwks": {"keys": [{"kty": "EC"}]}, "grant_types": ["client_credentials"]}
    assert json.loads(sent.body) == {"name": "app", "settings": settings}


def test_client_set_keeps_the_other_settings(cli: Any, serve: Any) -> None:
    server = serve(as_json(CLIENT))
    ran = cli("client", "set", "DPCL1", 'roles=["*"]', "--disable")
    assert ran.status == 0, ran.err
    read, written = server.sent
    assert (read.method, written.method) == ("GET", "PUT")
    assert json.loads(written.body) == {"enabled": False, "settings": {**CLIENT["settings"], "roles": ["*"]}}


def test_client_set_without_a_change_is_a_usage_error(cli: Any, serve: Any) -> None:
    server = serve(as_json(CLIENT))
    assert cli("client", "set", "DPCL1").status == 2
    assert server.sent == []


def test_client_secret_create_prints_the_secret(cli: Any, serve: Any) -> None:
    server = serve(as_json({"id": "ab12", "client_secret": "ab12.s3cret"}))
    assert "ab12.s3cret" in cli("client", "secret", "create", "DPCL1").out
    assert (server.sent[0].method, server.sent[0].target) == ("POST", "/api/v1/clients/DPCL1/secrets")


def test_resource_server_put_sends_scopes_with_their_policies(cli: Any, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "read.json").write_text('{"Version": "2012-10-17"}')
    server = serve(error("NoSuchEntity", "no", 404), as_json(SERVER))
    scopes = ("--scope", f"read={tmp_path}/read.json", "--scope", "profile", "--default-scope", "read")
    ran = cli("resource-server", "put", "https://a/b", *scopes, "--token-seconds", "300")
    assert ran.status == 0, ran.err
    _, sent = server.sent
    assert (sent.method, sent.target) == ("PUT", "/api/v1/resource-servers/https%3A%2F%2Fa%2Fb")
    assert json.loads(sent.body) == {
        "name": "https://a/b",
        "settings": {
            "scopes": {"read": {"policy": {"Version": "2012-10-17"}}, "profile": {}},
            "default_scopes": ["read"],
            "token_seconds": 300,
        },
    }
