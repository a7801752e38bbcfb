"""The AWS SDK for JavaScript v3, unmodified, against a running server."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server
from tests.issuer import Issuer
from tests.node import run_script, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run"),
    pytest.mark.parametrize("server", ["sqlite"], indirect=True),  # the client is the point
]


def seen(script: str, *arguments: str, environment: dict[str, str]) -> dict[str, Any]:
    ran = run_script(script, *arguments, environment=environment)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_main_job_in_javascript_borrows_is_bounded_and_is_told_why(server: Server) -> None:
    suffix = secrets.token_hex(4)
    found = seen("main_job.mjs", suffix, environment=server.environment())
    assert found["me"] == f"arn:aws:iam::{OPERATOR}:user/admin"
    assert found["user"] == {
        "arn": f"arn:aws:iam::{OPERATOR}:user/js/js-{suffix}",
        "created": True,
        "tags": [{"Key": "from", "Value": "js"}],
    }
    assert (found["trust"], found["listed"]) == (True, True)
    assert 880 < found["expires"] <= 901
    assert found["allowed"] == found["user"]["arn"]
    assert (found["denied"]["name"], found["denied"]["status"]) == ("AccessDenied", 403)
    assert "because no identity-based policy allows the iam:CreateUser action" in found["denied"]["message"]
    assert found["denied"]["encoded"]
    assert found["missing"]["name"] == "NoSuchEntityException"
    assert found["twice"]["name"] == "EntityAlreadyExistsException"
    assert found["invalid"]["name"] == "ValidationError"
    assert found["provider"] == f"arn:aws:sts::{OPERATOR}:assumed-role/js-{suffix}/provider"


def test_web_identity_in_javascript_takes_the_standard_environment_alone(server: Server, tmp_path: Path) -> None:
    issuer = Issuer(f"js-{secrets.token_hex(4)}.example.com", "ES256", "sts.amazonaws.com")
    subject = "system:serviceaccount:shop:web"
    iam = server.client("iam", ADMIN_KEY)
    provider = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["sts.amazonaws.com"])
    arn = provider["OpenIDConnectProviderArn"]
    server.api(
        "PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": {"static_jwks": json.dumps(issuer.jwks())}}
    )
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer.url}:sub": subject}},
    }
    name = f"pod-{secrets.token_hex(4)}"
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    token = tmp_path / "token"
    environment = {
        "AWS_ROLE_ARN": role,
        "AWS_ROLE_SESSION_NAME": "pod",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL_STS": server.url,
        "AWS_REGION": "eu-central-1",
    }
    token.write_text(issuer.token(time.time_ns() // 1_000_000, sub=subject))
    assert (
        seen("web_identity.mjs", environment=environment)["arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/{name}/pod"
    )
    token.write_text(issuer.token(time.time_ns() // 1_000_000, sub="system:serviceaccount:shop:other"))
    refused = seen("web_identity.mjs", environment=environment)
    assert refused["name"] == "AccessDenied"
    assert refused["message"].startswith("Not authorized to perform sts:AssumeRoleWithWebIdentity (request ")
