"""EKS Pod Identity: boto3's eks-auth client, and pods that find the node's agent by their standard environment."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.agent import configured, running_agent
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, Server
from tests.e2e.test_agent import who
from tests.kubernetes_api import ISSUER, READER, Cluster, cluster
from tests.processes import bound, free_port, until_listening

pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True)  # the protocol is the point
AUDIENCE = "pods.eks.amazonaws.com"


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, lambda: time.time_ns() // 1_000_000) as made:
        made.run_pod("shop", "orders-1")
        made.run_pod("other", "orders-1")
        yield made


@pytest.fixture
def role(server: Server, kubernetes: Cluster) -> Iterator[str]:
    """A role of service account shop/orders of the cluster `prod`."""
    iam = server.client("iam")
    try:
        iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=[AUDIENCE, "daypass"])
    except iam.exceptions.EntityAlreadyExistsException:
        arn = f"arn:aws:iam::{OPERATOR}:oidc-provider/{ISSUER}"
        iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=AUDIENCE)
    settings = {
        "jwks_url": f"{kubernetes.url}/openid/v1/jwks",
        "jwks_bearer": READER,
        "ca_pem": kubernetes.ca_pem,
        "allow_private_networks": True,
    }
    server.api("PUT", f"/providers/oidc/{ISSUER}/settings", body={"settings": settings})
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": AUDIENCE},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": {"aws:RequestTag/kubernetes-namespace": "shop"}},
    }
    name = f"pod-{secrets.token_hex(4)}"
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    for subject in ("prod/shop/orders", "prod/other/orders"):
        body = {"subject": subject, "role": name, "issuer": f"https://{ISSUER}"}
        made = server.api("POST", "/pod-identity-associations", body=body)
        assert made["role_arn"] == f"arn:aws:iam::{OPERATOR}:role/{name}"
    yield name
    for each in server.api("GET", "/pod-identity-associations")["pod_identity_associations"]:
        server.api("DELETE", f"/pod-identity-associations/{each['subject']}")


def refusal(server: Server, token: str, cluster_name: str = "prod", key: Any = ADMIN_KEY) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        server.client("eks-auth", key).assume_role_for_pod_identity(clusterName=cluster_name, token=token)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a546_pod_identity_gives_the_associated_role_and_nothing_to_other_tokens_and_callers(
    server: Server, kubernetes: Cluster, role: str
) -> None:
    token = kubernetes.token("shop", "orders", "orders-1", aud=[AUDIENCE])
    given = server.client("eks-auth").assume_role_for_pod_identity(clusterName="prod", token=token)
    assert given["subject"] == {"namespace": "shop", "serviceAccount": "orders"}
    assert given["assumedRoleUser"]["arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/eks-prod-orders-1"
    assert given["credentials"]["expiration"].timestamp() == pytest.approx(time.time() + 3600, abs=60)
    found = given["credentials"]
    key = (found["accessKeyId"], found["secretAccessKey"], found["sessionToken"])
    assert server.client("sts", key).get_caller_identity()["Arn"] == given["assumedRoleUser"]["arn"]

    other = kubernetes.token("shop", "web", "orders-1", aud=[AUDIENCE])
    assert refusal(server, other) == ("ResourceNotFoundException", 404)
    assert refusal(server, token, "staging") == ("ResourceNotFoundException", 404)
    assert refusal(server, kubernetes.token("other", "orders", "orders-1", aud=[AUDIENCE])) == (
        "AccessDeniedException",
        403,
    )  # the role's trust policy is for the namespace `shop`
    assert refusal(server, kubernetes.token("shop", "orders", "orders-1")) == ("InvalidTokenException", 400)
    forged = token.rpartition(".")[0] + "." + "A" * 86
    assert refusal(server, forged) == ("InvalidTokenException", 400)
    expired = kubernetes.token("shop", "orders", "orders-1", aud=[AUDIENCE], exp=int(time.time()) - 3600)
    assert refusal(server, expired) == ("ExpiredTokenException", 400)
    assert refusal(server, "not.a.token") == ("InvalidTokenException", 400)
    assert refusal(server, token, key=key) == ("AccessDeniedException", 403)  # a pod is not a node
    assert refusal(server, token, key=(ADMIN_KEY[0], "wrong")) == ("InvalidSignatureException", 403)
    tenant = next(account for account in ROOT_KEYS if account != OPERATOR)
    assert refusal(server, token, key=ROOT_KEYS[tenant])[0] == "InvalidTokenException"  # it has no such provider

    server.api("DELETE", "/pod-identity-associations/prod/shop/orders")
    assert refusal(server, token) == ("ResourceNotFoundException", 404)


def test_pod_finds_the_agent_of_its_node_by_the_standard_environment(
    server: Server, kubernetes: Cluster, role: str, tmp_path: Path
) -> None:
    config = configured(tmp_path, '[pod_identity]\ncluster = "prod"\nlisten = "127.0.0.1:0"\n', server.url, ADMIN_KEY)
    token = tmp_path / "eks-pod-identity-token"
    token.write_text(kubernetes.token("shop", "orders", "orders-1", aud=[AUDIENCE]))
    with running_agent(tmp_path, config) as agent:
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.addresses['pod-identity']}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
        seen = who("boto3", server, environment, tmp_path)
        assert seen == f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/eks-prod-orders-1"
        first = agent.get("pod-identity", "/v1/credentials", authorization=token.read_text())
        assert first[0] == 200
        assert first == agent.get("pod-identity", "/v1/credentials", authorization=token.read_text())
        other = kubernetes.token("shop", "web", "orders-1", aud=[AUDIENCE])
        for headers, status in (({"authorization": other}, 403), ({}, 401), ({"authorization": "x" * 9}, 403)):
            answered, body = agent.get("pod-identity", "/v1/credentials", **headers)
            assert (answered, first[1]["SecretAccessKey"] in json.dumps(body)) == (status, False)


def test_pod_gets_its_role_from_the_agent_of_aws(
    server: Server, kubernetes: Cluster, role: str, tmp_path: Path
) -> None:
    """AWS's program is in no package registry; docs/how-to/develop.md says how to build it. It answers at one address alone."""
    program, address = shutil.which("eks-pod-identity-agent"), "169.254.170.23"
    if program is None:
        pytest.skip("eks-pod-identity-agent is not on PATH")
    if subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=False).returncode:
        pytest.skip("the address of the agent cannot be added")
    port = free_port()
    command = [program, "server", "--cluster-name", "prod", "--endpoint", server.url, "--bind-hosts", address]
    command += ["--port", str(port), "--probe-port", str(free_port()), "--metrics-port", str(free_port())]
    token = tmp_path / "eks-pod-identity-token"
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{address}:{port}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
    }
    with subprocess.Popen(bound(command), env=server.environment(ADMIN_KEY), stdout=subprocess.DEVNULL) as agent:
        try:
            until_listening(agent, port, address)
            token.write_text(kubernetes.token("shop", "orders", "orders-1", aud=[AUDIENCE]))
            seen = who("boto3", server, environment, tmp_path)
            assert seen == f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/eks-prod-orders-1"
            token.write_text(kubernetes.token("shop", "web", "orders-1", aud=[AUDIENCE]))  # not associated
            with pytest.raises(AssertionError, match="ResourceNotFoundException"):
                who("boto3", server, environment, tmp_path)
        finally:
            agent.terminate()
            subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=False)
