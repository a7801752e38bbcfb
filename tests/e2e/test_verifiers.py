"""Services that learn who their client is by running its signed GetCallerIdentity, as they do it against AWS."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, session_key

pytestmark = pytest.mark.slow

CALL = "Action=GetCallerIdentity&Version=2011-06-15"


def _run(request: urllib.request.Request) -> tuple[int, str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["content-type"], json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], json.load(error)


def _presigned(server: Server, key: tuple[str, ...], cluster: str) -> str:
    """The URL in a token of aws-iam-authenticator: presigned for a minute, with the cluster's name in a signed header."""
    request = AWSRequest("GET", f"{server.url}/?{CALL}", headers={"x-k8s-aws-id": cluster})
    SigV4QueryAuth(Credentials(*key), "sts", "us-east-1", expires=60).add_auth(request)
    return str(request.url)


def test_cluster_reads_who_presigned_a_token_from_json(server: Server) -> None:
    name = f"pod-{secrets.token_hex(4)}"
    trust = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
    session = session_key(server.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="web"))
    url = _presigned(server, session, "prod")
    headers = {"x-k8s-aws-id": "prod", "accept": "application/json"}
    status, media_type, answer = _run(urllib.request.Request(url, headers=headers))
    assert (status, media_type) == (200, "application/json")
    wrapped = answer["GetCallerIdentityResponse"]
    assert wrapped["ResponseMetadata"]["RequestId"]
    identity = wrapped["GetCallerIdentityResult"]
    assert identity == {
        "Account": OPERATOR,
        "Arn": f"arn:aws:sts::{OPERATOR}:assumed-role/{name}/web",
        "UserId": f"{role['RoleId']}:web",
    }


def test_cluster_refuses_a_token_presigned_for_another_cluster(server: Server) -> None:
    headers = {"x-k8s-aws-id": "staging", "accept": "application/json"}
    status, _, answer = _run(urllib.request.Request(_presigned(server, ADMIN_KEY, "prod"), headers=headers))
    assert status == 403
    assert answer["Error"]["Code"] == "SignatureDoesNotMatch"
    assert answer["RequestId"]


def test_login_forwards_a_signed_post_and_reads_json(server: Server) -> None:
    """Vault's login: the client signs a POST with the server's name in a header, and hands over its parts."""
    sent = AWSRequest(
        "POST",
        server.url + "/",
        data=CALL,
        headers={
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "Accept": "application/json",
            "X-Vault-AWS-IAM-Server-ID": "vault.example.com",
        },
    )
    SigV4Auth(Credentials(*ADMIN_KEY), "sts", "us-east-1").add_auth(sent)
    status, _, answer = _run(urllib.request.Request(sent.url, CALL.encode(), dict(sent.headers.items())))
    assert status == 200
    identity = answer["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
    assert identity["Arn"] == f"arn:aws:iam::{OPERATOR}:user/admin"


def test_credentials_in_json_expire_at_a_number_of_seconds(server: Server) -> None:
    request = AWSRequest("GET", f"{server.url}/?Action=GetSessionToken&Version=2011-06-15&DurationSeconds=900")
    SigV4QueryAuth(Credentials(*ADMIN_KEY), "sts", "us-east-1", expires=60).add_auth(request)
    _, _, answer = _run(urllib.request.Request(str(request.url), headers={"accept": "application/json"}))
    credentials = answer["GetSessionTokenResponse"]["GetSessionTokenResult"]["Credentials"]
    assert isinstance(credentials["Expiration"], int)
    assert credentials["AccessKeyId"].startswith("ASIA")
