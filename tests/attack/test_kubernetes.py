"""Tokens of pods: what ends them, and what happens while the cluster's API server is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Installation, installed
from tests.attack.tokens import bring, provider, trust_in
from tests.kubernetes_api import ISSUER, READER, Cluster, cluster

from daypass.federation.sign_in import PATH

ARN = f"arn:aws:iam::{ALPHA}:oidc-provider/{ISSUER}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server in a pod of its own, whose token lies in a file."""
    files = tmp_path_factory.mktemp("serviceaccount")
    (files / "token").write_text(READER + "\n")
    with installed(tmp_path_factory.mktemp("site"), federation={"files": str(files)}) as made:
        yield made


@pytest.fixture
def kubernetes(site: Installation, tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, lambda: site.wall.time) as made:
        made.run_pod("prod", "web-1")
        yield made


@pytest.fixture(scope="module")
def role(site: Installation) -> str:
    return site.role(
        "pod", trust_in(ARN, StringEquals={f"{ISSUER}:kubernetes.io/namespace": "prod", f"{ISSUER}:aud": "daypass"})
    )


def trusting(site: Installation, made: Cluster, *, review: bool = True, **settings: Any) -> None:
    """The account's provider of this cluster, its keys by the API server with Daypass's own token."""
    asked = {"url": made.url, "bearer_file": "token", **settings.pop("token_review", {})}
    known = {
        "static_jwks": "",
        "jwks_url": f"{made.url}/openid/v1/jwks",
        "jwks_bearer_file": "token",
        "ca_pem": made.ca_pem,
        "allow_private_networks": True,
        **({"token_review": asked} if review else {}),
        **settings,
    }
    provider(site, made.issuer, **{name: value for name, value in known.items() if value or name == "static_jwks"})


def test_pod_gets_the_role_of_its_namespace_and_no_other(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any]
) -> None:
    trusting(site, kubernetes)
    answer = bring(site, role, kubernetes.token("prod", "web", "web-1"))
    assert answer.status == 200, answer.body
    assert answer.text("SubjectFromWebIdentityToken") == "system:serviceaccount:prod:web"
    assert sorted(kubernetes.asked) == [PATH, "/openid/v1/jwks"]
    kubernetes.run_pod("dev", "web-2")
    refused(bring(site, role, kubernetes.token("dev", "web", "web-2")), "AccessDenied", 403, "request.denied")


def test_a35_deleted_pod_token_refused_within_ten_seconds(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any]
) -> None:
    trusting(site, kubernetes, token_review={"cache_seconds": 10})
    token = kubernetes.token("prod", "web", "web-1")
    for _ in range(3):
        assert bring(site, role, token).status == 200
    assert kubernetes.asked.count(PATH) == 1
    kubernetes.delete_pod("prod", "web-1")
    site.wall.time += 10_000
    record = refused(bring(site, role, token), "IDPRejectedClaim", 403)
    assert "invalidated" in str(record["detail"])
    assert token not in str(record)


def test_a35_deleted_pod_token_refused_at_once_by_default(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any]
) -> None:
    trusting(site, kubernetes)
    token = kubernetes.token("prod", "web", "web-1")
    assert bring(site, role, token).status == 200
    kubernetes.delete_pod("prod", "web-1")
    kubernetes.run_pod("prod", "web-1")  # of the same name, which is another pod
    refused(bring(site, role, token), "IDPRejectedClaim", 403)


def test_a35_legacy_token_that_never_expires_refused(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any]
) -> None:
    trusting(site, kubernetes)
    refused(bring(site, role, kubernetes.legacy_token("prod", "web")), "InvalidIdentityToken", 400)
    answer = bring(site, role, kubernetes.token("prod", "web", "web-1", exp=None))
    refused(answer, "InvalidIdentityToken", 400)
    assert "exp" in answer.text("Message")


def test_a37_api_server_down_keys_are_cached(site: Installation, kubernetes: Cluster, role: str) -> None:
    trusting(site, kubernetes, review=False)
    assert bring(site, role, kubernetes.token("prod", "web", "web-1")).status == 200
    kubernetes.stop()
    site.wall.time += 3_600_000
    assert bring(site, role, kubernetes.token("prod", "web", "web-1")).status == 200


def test_a37_api_server_down_token_review_denies(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any]
) -> None:
    trusting(site, kubernetes)
    assert bring(site, role, kubernetes.token("prod", "web", "web-1")).status == 200
    kubernetes.stop()
    answer = bring(site, role, kubernetes.token("prod", "web", "web-1", jti="another"))
    record = refused(answer, "IDPCommunicationError", 400)
    assert "no connection" in str(record["detail"])
    assert b"127.0.0.1" not in answer.body


@pytest.mark.parametrize("name", ["system:serviceaccount:prod:admin", ["system:serviceaccount:prod:web"], None])
def test_review_that_vouches_for_another_refused(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any], name: Any, monkeypatch: Any
) -> None:
    trusting(site, kubernetes)
    said = {"authenticated": True, "audiences": ["daypass"], "user": {"username": name}}
    monkeypatch.setattr(kubernetes, "_review", lambda **_: said)
    refused(bring(site, role, kubernetes.token("prod", "web", "web-1")), "IDPRejectedClaim", 403)


@pytest.mark.parametrize(
    "said",
    [
        {"authenticated": "true", "audiences": ["daypass"], "user": {"username": "system:serviceaccount:prod:web"}},
        {"authenticated": True, "user": {"username": "system:serviceaccount:prod:web"}},
        {"authenticated": True, "audiences": ["other"], "user": {"username": "system:serviceaccount:prod:web"}},
        {"authenticated": True, "audiences": [["daypass"]], "user": {"username": "system:serviceaccount:prod:web"}},
        {},
    ],
)
def test_review_that_is_no_plain_yes_refused(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any], said: Any, monkeypatch: Any
) -> None:
    trusting(site, kubernetes)
    monkeypatch.setattr(kubernetes, "_review", lambda **_: said)
    refused(bring(site, role, kubernetes.token("prod", "web", "web-1")), "IDPRejectedClaim", 403)


def test_cluster_with_another_authority_refused(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with cluster(other, lambda: site.wall.time) as stranger:
        trusting(site, kubernetes, ca_pem=stranger.ca_pem)
    answer = bring(site, role, kubernetes.token("prod", "web", "web-1"))
    record = refused(answer, "IDPCommunicationError", 400)
    assert "certificate" in str(record["detail"])
    assert kubernetes.asked == []  # no token of ours has gone to it


def test_cluster_on_a_private_address_refused_unless_allowed(
    site: Installation, kubernetes: Cluster, role: str, refused: Callable[..., Any]
) -> None:
    trusting(site, kubernetes, allow_private_networks=False)
    record = refused(bring(site, role, kubernetes.token("prod", "web", "web-1")), "IDPCommunicationError", 400)
    assert "no address that may be fetched from" in str(record["detail"])
    assert kubernetes.asked == []


def test_discovery_by_the_api_server_with_its_token(site: Installation, kubernetes: Cluster, role: str) -> None:
    """With the API server's own address as the issuer, discovery document and keys both need the token."""
    address = kubernetes.url.removeprefix("https://")
    kubernetes.issuer.url, kubernetes.issuer.issuer = address, kubernetes.url
    trusting(site, kubernetes, jwks_url="")
    arn = f"arn:aws:iam::{ALPHA}:oidc-provider/{address}"
    other = site.role(f"pod-{address.rpartition(':')[2]}", trust_in(arn, StringEquals={f"{address}:aud": "daypass"}))
    answer = bring(site, other, kubernetes.token("prod", "web", "web-1"))
    assert answer.status == 200, site.records(answer.request_id)
    assert kubernetes.asked[:2] == ["/.well-known/openid-configuration", "/openid/v1/jwks"]
