"""A cluster's tokens, set up with the command alone: provider, keys over TLS with a token of its own, reviews."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from tests.e2e.cli.conftest import Command
from tests.e2e.conftest import OPERATOR, ROOT_KEYS
from tests.kubernetes_api import READER, cluster


def test_cluster_set_up_by_command_lets_its_pods_in(daypass: Command, tmp_path: Path) -> None:
    with cluster(tmp_path, lambda: time.time_ns() // 1_000_000) as kubernetes:
        kubernetes.run_pod("prod", "web-1")
        url = f"cluster-{secrets.token_hex(4)}.example.com"
        kubernetes.issuer.url, kubernetes.issuer.issuer = url, f"https://{url}"
        ca = tmp_path / "cluster-ca.pem"
        ca.write_text(kubernetes.ca_pem)
        token = tmp_path / "reader"
        token.write_text(READER)
        ran = daypass(
            *("provider", "add", f"https://{url}", "--client-id", "daypass"),
            *(f"jwks_url={kubernetes.url}/openid/v1/jwks", f"ca_pem=@{ca}", "allow_private_networks=true"),
            *(f"jwks_bearer=@{token}", f"token_review.url={kubernetes.url}", f"token_review.bearer=@{token}"),
        )
        assert ran.status == 0, ran.err
        keys = daypass("provider", "keys", url)
        assert (keys.status, "key-1" in keys.out) == (0, True), keys.out
        shown = daypass("provider", "show", url, "--output", "json")
        assert READER not in shown.out
        made = shown.json()
        assert made["settings"]["jwks_bearer"] == "***"

        role = f"pod-{secrets.token_hex(4)}"
        document = {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": {"Federated": made["arn"]},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{url}:kubernetes.io/namespace": "prod"}},
            },
        }
        iam = daypass.server.client("iam", ROOT_KEYS[OPERATOR])
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
        sts = boto3.client(
            "sts", endpoint_url=daypass.server.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
        )
        answer = sts.assume_role_with_web_identity(
            RoleArn=arn, RoleSessionName="web", WebIdentityToken=kubernetes.token("prod", "web", "web-1")
        )
        assert answer["Provider"] == made["arn"]
        assert "/apis/authentication.k8s.io/v1/tokenreviews" in kubernetes.asked
    assert daypass("provider", "rm", url, "--yes").status == 0
    assert daypass("provider", "show", url).status == 1
