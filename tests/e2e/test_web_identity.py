"""An unmodified boto3 that has nothing but a token in a file and the variables that every AWS SDK knows."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.e2e.conftest import OPERATOR, ROOT_KEYS, Server, running
from tests.issuer import Issuer

from daypass.client.http import Connection
from daypass.client.profiles import Profile


def federated(server: Server, **settings: Any) -> tuple[Issuer, str]:
    """An issuer that the operator's account trusts, with its keys in the settings, and a role for its user "ann"."""
    issuer = Issuer(f"idp-{secrets.token_hex(4)}.example.com", alg="ES256")
    iam = server.client("iam", ROOT_KEYS[OPERATOR])
    made = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["daypass"], ThumbprintList=["a" * 40])
    arn = made["OpenIDConnectProviderArn"]
    connection = Connection(Profile(server.url, *ROOT_KEYS[OPERATOR]))
    known = {"static_jwks": issuer.jwks(), **settings}
    connection.api("PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": known})
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer.url}:sub": "ann"}},
    }
    name = f"role-{secrets.token_hex(4)}"
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=json.dumps(allowed))
    return issuer, role


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_boto3_with_the_standard_environment_works_as_the_role(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, role = federated(server)
    file = tmp_path / "token"
    file.write_text(issuer.token(now_ms(), sub="ann") + "\n")  # as `jq -r` and `echo` write it; boto3 sends it so
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_SESSION_NAME": "pod-7",
        "AWS_ENDPOINT_URL_STS": server.url,
        "AWS_ENDPOINT_URL_IAM": server.url,
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()
    session_arn = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/pod-7"
    assert session.client("sts").get_caller_identity()["Arn"] == session_arn
    assert session.client("iam").list_roles()["Roles"]
    file.write_text(issuer.token(now_ms(), sub="eve"))
    with pytest.raises(ClientError, match="AccessDenied"):
        boto3.Session().client("sts").get_caller_identity()


def test_answer_and_errors_read_as_boto3_expects(server: Server) -> None:
    issuer, role = federated(server, one_time=True)
    unsigned = Config(signature_version=UNSIGNED, retries={"max_attempts": 0})
    sts = boto3.client("sts", endpoint_url=server.url, region_name="eu-central-1", config=unsigned)
    asked: dict[str, Any] = {"RoleArn": role, "RoleSessionName": "job"}
    token = issuer.token(now_ms(), sub="ann", jti="7")
    answer = sts.assume_role_with_web_identity(**asked, WebIdentityToken=token)
    assert (answer["SubjectFromWebIdentityToken"], answer["Audience"]) == ("ann", "daypass")
    assert answer["Provider"] == f"arn:aws:iam::{OPERATOR}:oidc-provider/{issuer.url}"
    assert answer["Credentials"]["Expiration"].timestamp() > time.time()
    with pytest.raises(sts.exceptions.InvalidIdentityTokenException):
        sts.assume_role_with_web_identity(**asked, WebIdentityToken=token)
    old = issuer.token(now_ms() - 3_600_000, sub="ann", jti="8")
    with pytest.raises(sts.exceptions.ExpiredTokenException, match="this server's time"):
        sts.assume_role_with_web_identity(**asked, WebIdentityToken=old)


@pytest.mark.slow
@pytest.mark.parametrize(
    "server", ["sqlite"], indirect=True
)  # both databases, and restarts: tests/contract/test_acknowledged.py
def test_a19_hundred_redemptions_over_two_processes_get_one_session(server: Server) -> None:
    with running(server.data) as second:
        issuer, role = federated(server, one_time=True)
        token = issuer.token(now_ms(), sub="ann", jti="7")
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role,
            "RoleSessionName": "job",
        }
        body = urlencode({**asked, "WebIdentityToken": token}).encode()

        def redeem(asked_of: Server) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(asked_of.url, body, timeout=30) as answer:
                    return answer.status, ""
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(redeem, [server, second] * 50))
    assert sorted(status for status, _ in answers) == [200] + [400] * 99
    assert all("InvalidIdentityToken" in text for status, text in answers if status == 400)
