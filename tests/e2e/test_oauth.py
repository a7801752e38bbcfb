"""Stock OAuth clients and JWT libraries against a running server with several processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running
from tests.issuer import Issuer
from tests.node import run_script, why_not
from tests.oauth import ACCESS_TOKEN, AWS, EXCHANGE, ID_TOKEN, SESSION

pytestmark = pytest.mark.slow

AUDIENCES = {"ES256": "https://b.example", "EdDSA": "https://ed.example", "RS256": "https://old.example"}


@dataclass(frozen=True)
class World:
    server: Server
    issuer: Issuer
    role: str
    client_id: str

    def exchange(self, subject: str, kind: str = ID_TOKEN, **more: str) -> dict[str, Any]:
        """Token exchange by requests-oauthlib, which checks what comes back."""
        client = BackendApplicationClient(self.client_id)
        client.grant_type = EXCHANGE
        session = OAuth2Session(client=client)
        url = f"{self.server.url}/oauth2/token"
        asked = {"subject_token": subject, "subject_token_type": kind, **more}
        return dict(session.fetch_token(url, include_client_id=True, **asked))

    def id_token(self) -> str:
        return self.issuer.token(int(time.time() * 1000), sub="ann")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    algorithms = ",".join(f"{audience}={name}" for name, audience in AUDIENCES.items())
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}", "DAYPASS_OAUTH__AUDIENCE_ALGORITHMS": algorithms}
    data = tmp_path_factory.mktemp("oauth")
    with running(data, "--workers", "2", environment=environment) as server:
        issuer = Issuer("idp.example.com", "ES256")
        iam = server.client("iam", ADMIN_KEY)
        arn = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["daypass"])[
            "OpenIDConnectProviderArn"
        ]
        settings = {"settings": {"static_jwks": json.dumps(issuer.jwks())}}
        server.api("PUT", f"/providers/oidc/{issuer.url}/settings", body=settings)
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer.url}:aud": "daypass"}},
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = iam.create_role(RoleName="orders", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        audiences = [server.url, *AUDIENCES.values()]
        public = {"token_endpoint_auth_method": "none", "grant_types": [EXCHANGE], "audiences": audiences}
        public |= {"roles": ["*"], "scopes": ["orders.read"]}
        client = server.api("POST", "/clients", body={"name": "app", "settings": public})
        yield World(server, issuer, role, client["client_id"])


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def test_requests_oauthlib_exchanges_tokens_and_reads_refusals(world: World) -> None:
    first = world.exchange(world.id_token(), role=world.role, scope="orders.read")
    assert first["scope"] == ["orders.read"]
    narrowed = world.exchange(first["access_token"], ACCESS_TOKEN, requested_token_type=AWS)
    key = (narrowed["access_key_id"], narrowed["secret_access_key"], narrowed["access_token"])
    identity = world.server.client("sts", key).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/orders/ann"
    with pytest.raises(OAuth2Error, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        world.exchange(world.id_token(), role=f"{world.role}x")


@pytest.mark.parametrize("algorithm", AUDIENCES)
def test_pyjwt_verifies_a_token_from_the_jwks_alone(world: World, algorithm: str) -> None:
    audience = AUDIENCES[algorithm]
    token = world.exchange(world.id_token(), role=world.role, audience=audience)["access_token"]
    key = jwt.PyJWKClient(f"{world.server.url}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    checks = {"issuer": world.server.url, "audience": audience}
    claims = jwt.decode(token, key, algorithms=[algorithm], **checks)
    assert claims[SESSION]["role_arn"] == world.role
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=[algorithm], issuer=world.server.url, audience="https://other.example")


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")
def test_jose_in_javascript_verifies_tokens_of_every_algorithm(world: World) -> None:
    for algorithm, audience in AUDIENCES.items():
        token = world.exchange(world.id_token(), role=world.role, audience=audience)["access_token"]
        found = verified_by_jose(world, token, audience)
        assert found["alg"] == algorithm
        assert found["payload"][SESSION]["role_arn"] == world.role
    assert verified_by_jose(world, token, "https://other.example")["refused"] == "ERR_JWT_CLAIM_VALIDATION_FAILED"
    forged = f"{token[:-8]}AAAAAAAA"
    assert verified_by_jose(world, forged, audience)["refused"] == "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"


def verified_by_jose(world: World, token: str, audience: str) -> dict[str, Any]:
    ran = run_script("verify_token.mjs", world.server.url, token, audience, environment={})
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found
