"""Stock OAuth clients that authenticate and prove keys, against a running server with several processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey
from tests.e2e.conftest import ADMIN_KEY, Server, running
from tests.issuer import b64, make_key, public_jwk
from tests.node import run_script, why_not

pytestmark = pytest.mark.slow

API = "https://api.example"


@dataclass(frozen=True)
class Registered:
    id: str
    key: ec.EllipticCurvePrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        secret = b64(self.key.private_numbers().private_value.to_bytes(32, "big"))
        return {**public_jwk(self.key), "d": secret, "kid": "k1"}

    @property
    def pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("clients"), "--workers", "2", environment=environment) as found:
        yield found


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def register(server: Server, name: str, **settings: Any) -> dict[str, Any]:
    """A client with a role of its own that trusts it."""
    body = {
        "name": name,
        "settings": {"grant_types": ["client_credentials"], "audiences": [API, server.url], **settings},
    }
    made: dict[str, Any] = server.api("POST", "/clients", body=body)
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": made["arn"]},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"daypass:ClientId": made["client_id"]}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = server.client("iam", ADMIN_KEY).create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    changed = {"settings": {**made["settings"], "roles": [role]}}
    return dict(server.api("PUT", f"/clients/{made['client_id']}", body=changed))


def with_key(server: Server, name: str, **settings: Any) -> Registered:
    key = make_key("ES256")
    jwks = {"keys": [public_jwk(key, kid="k1", alg="ES256", use="sig")]}
    return Registered(register(server, name, jwks=jwks, **settings)["client_id"], key)


def test_authlib_authenticates_with_private_key_jwt_and_introspects(server: Server) -> None:
    registered = with_key(server, "authlib-keys", fapi_exceptions=["bearer_tokens"])
    key = ECKey.import_key(registered.jwk)
    proof = PrivateKeyJWT(server.url, alg="ES256", headers={"kid": "k1"})
    session = OAuth2Session(registered.id, key, token_endpoint_auth_method=proof, revocation_endpoint_auth_method=proof)
    token = session.fetch_token(f"{server.url}/oauth2/token", grant_type="client_credentials", resource=API)
    assert token["token_type"] == "Bearer"
    seen = session.introspect_token(f"{server.url}/oauth2/introspect", token=token["access_token"])
    assert (seen.json()["active"], seen.json()["aud"]) == (True, API)
    assert session.revoke_token(f"{server.url}/oauth2/revoke", token=token["access_token"]).status_code == 200
    assert not session.introspect_token(f"{server.url}/oauth2/introspect", token=token["access_token"]).json()["active"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_authenticates_with_a_secret(server: Server, method: str) -> None:
    made = register(
        server,
        method.replace("_", "-"),
        token_endpoint_auth_method=method,
        fapi_exceptions=["bearer_tokens", "client_secret"],
    )
    secret = server.api("POST", f"/clients/{made['client_id']}/secrets")["client_secret"]
    session = OAuth2Session(made["client_id"], secret, token_endpoint_auth_method=method)
    token = session.fetch_token(f"{server.url}/oauth2/token", grant_type="client_credentials")
    assert token["access_token"]


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")
def test_strict_javascript_clients_use_private_key_jwt_and_dpop(server: Server) -> None:
    registered = with_key(server, "strict")
    arguments = (server.url, registered.id, json.dumps(registered.jwk), API)
    ran = run_script("oauth_clients.mjs", *arguments, environment={})
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    openid, strict = found["openid"], found["oauth4webapi"]
    assert (openid["token_type"], openid["active"], openid["revoked"]) == ("dpop", True, False)
    assert openid["cnf"]["jkt"]
    assert openid["resource"]["active"] is True
    assert (strict["token_type"], strict["retried"], strict["active"]) == ("dpop", True, True)
    assert strict["refused"] == "invalid_target"
