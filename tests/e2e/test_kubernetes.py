"""Pods, for real: the SDKs' own environment, an API server that behaves, deleted pods, and a cluster that is away."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import OPERATOR, Server
from tests.e2e.workload import Workload, session_of
from tests.kubernetes_api import ISSUER, READER, Cluster, cluster
from tests.node import run_script, why_not

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("server", ["sqlite"], indirect=True)]  # the pods are the point
ARN = f"arn:aws:iam::{OPERATOR}:oidc-provider/{ISSUER}"


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, lambda: time.time_ns() // 1_000_000) as made:
        made.run_pod("shop", "orders-1")
        yield made


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workload:
    return Workload(tmp_path, monkeypatch)


def configure(server: Server, kubernetes: Cluster, **more: Any) -> None:
    """The provider of this cluster, which may be there from another test's cluster."""
    iam = server.client("iam")
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=["daypass"])
    settings = {
        "jwks_url": f"{kubernetes.url}/openid/v1/jwks",
        "jwks_bearer": READER,
        "ca_pem": kubernetes.ca_pem,
        "allow_private_networks": True,
        **more,
    }
    server.api("PUT", f"/providers/oidc/{ISSUER}/settings", body={"settings": settings})


def reviewed(kubernetes: Cluster, **more: Any) -> dict[str, Any]:
    return {"token_review": {"url": kubernetes.url, "bearer": READER, **more}}


def role_for(server: Server, namespace: str, account: str) -> str:
    """A role for one service account, by what the cluster says of it in nested claims."""
    claims = {"namespace": namespace, "serviceaccount/name": account}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": ARN},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{ISSUER}:kubernetes.io/{name}": value for name, value in claims.items()}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = f"pod-{secrets.token_hex(4)}"
    role: str = server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    return role


def test_pod_has_its_role_by_the_standard_environment_and_another_service_account_has_not(
    server: Server, kubernetes: Cluster, workload: Workload
) -> None:
    configure(server, kubernetes, **reviewed(kubernetes))
    role = role_for(server, "shop", "orders")
    assert workload.who(server, role, kubernetes.token("shop", "orders", "orders-1")) == session_of(role)
    with pytest.raises(ClientError, match="AccessDenied"):
        workload.who(server, role, kubernetes.token("shop", "web", "orders-1"))


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")
def test_pod_in_javascript_has_its_role_by_the_same_environment(
    server: Server, kubernetes: Cluster, workload: Workload
) -> None:
    configure(server, kubernetes)
    role = role_for(server, "shop", "orders")
    workload.token.write_text(kubernetes.token("shop", "orders", "orders-1"))
    ran = run_script("web_identity.mjs", environment=workload.environment(server, role))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["arn"] == session_of(role)


def test_a37_cluster_that_is_away_refuses_where_it_must_be_asked_and_is_not_missed_elsewhere(
    server: Server, kubernetes: Cluster, workload: Workload
) -> None:
    configure(server, kubernetes)
    role = role_for(server, "shop", "orders")
    first, second, third = (kubernetes.token("shop", "orders", "orders-1", jti=name) for name in "abc")
    assert workload.who(server, role, first) == session_of(role)
    kubernetes.stop()
    assert workload.who(server, role, second) == session_of(role)  # its keys are known
    configure(server, kubernetes, jwks_bearer="***", **reviewed(kubernetes))
    with pytest.raises(ClientError, match=r"IDPCommunicationError.*could not be asked"):
        workload.who(server, role, third)
