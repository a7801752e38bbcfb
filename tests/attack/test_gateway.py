"""Attacks on the gateway itself: whose proofs it accepts, and what it answers to whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT_OF_BETA, Answer, Installation, document
from tests.directory_service import directory_of
from tests.oauth import authorization_server, given
from tests.oauth_client import Client, DpopKey, api, register, trusting

AUDIENCE = "https://orders.example"
ROUTES = [{"path": "/orders/{id}", "methods": ["GET"], "action": "orders:Read", "resource": "order/{id}"}]
POLICY = document(
    {"Action": "orders:Read", "Resource": f"arn:aws:orders::{ALPHA}:order/*"},
    {"Action": "daypass:GetAccessToken", "Resource": "*"},
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("site")) as made:
        register_orders(made)
        yield made


def register_orders(site: Installation, **settings: Any) -> None:
    body = {"name": "orders", "settings": {"routes": ROUTES, **settings}}
    answer = api(site, "PUT", "/resource-servers/https%3A%2F%2Forders.example", body)
    assert answer.status == 200, answer.body


def ask(site: Installation, *headers: tuple[bytes, bytes], path: str = "/orders/7", **more: str) -> Answer:
    forwarded = ((b"x-forwarded-method", more.get("method", "GET").encode()), (b"x-forwarded-uri", path.encode()))
    query = b"audience=" + more.get("audience", AUDIENCE).encode()
    return site.send("GET", [*forwarded, *headers], path=b"/gateway/auth", query=query)


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    made = register(site, audiences=[AUDIENCE])
    made.put(roles=[site.role("bound", trusting(made), policy=POLICY)])
    return made


def test_bound_token_needs_a_fresh_proof_for_the_service(site: Installation, client: Client) -> None:
    key = DpopKey(site)
    client.token(dpop=key)
    text = given(client.token(dpop=key))["access_token"]
    token = (b"authorization", f"DPoP {text}".encode())

    def proof(**changes: Any) -> tuple[bytes, bytes]:
        made = {"htm": "GET", "htu": f"{AUDIENCE}/orders/7", **changes}
        return b"dpop", key.proof(token=text, **made).encode()

    good = proof()
    answer = key.take(ask(site, token, good))
    assert (answer.status, answer.headers["x-daypass-account"]) == (200, ALPHA)
    assert answer.headers["cache-control"] == "no-store"
    for headers in (
        (token, good),  # once
        (token, proof(htu="https://daypass.test/gateway/auth")),
        (token, proof(htm="POST")),
        (token, proof(htu=f"{AUDIENCE}/orders/8")),
        (token,),
        ((b"authorization", f"Bearer {text}".encode()),),
        (token, proof(), proof()),
    ):
        refused = ask(site, *headers)
        assert refused.status in (401, 403)
        assert "x-daypass-subject" not in refused.headers


def test_refusal_is_on_the_record_with_the_request_that_was_asked_about(site: Installation) -> None:
    _, key = site.user("nobody")
    signed = site.signed(key, b"", "orders", method="GET", path="/orders/7", extra={"host": "orders.example"})
    answer = ask(site, *[header for header in signed if header[0] != b"content-type"], (b"content-type", b"text/plain"))
    assert answer.status == 401  # content-type is under the signature
    answer = ask(site, *signed)
    assert answer.status == 403
    (record,) = site.records(answer.request_id)
    assert (record["operation"], record["actor"]["arn"]) == (
        "daypass:CheckRequest",
        f"arn:aws:iam::{ALPHA}:user/nobody",
    )
    assert record["detail"]["path"] == "/orders/7"


@pytest.mark.parametrize(
    ("audience", "path", "method"),
    [
        ("", "/orders/7", "GET"),
        ("https://unknown.example", "/orders/7", "GET"),
        (AUDIENCE, "/orders/7", "POST"),
        (AUDIENCE, "/orders/..", "GET"),
        (AUDIENCE, "/orders/7%2f", "GET"),
    ],
)
def test_what_no_route_fits_is_refused_before_any_proof(
    site: Installation, audience: str, path: str, method: str
) -> None:
    answer = ask(site, path=path, method=method, audience=audience)
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (403, "The request is not allowed.")


def test_token_of_another_audience_is_refused(site: Installation, client: Client) -> None:
    key, other = DpopKey(site), register(site, audiences=["https://other.example"])
    other.put(roles=[site.role("other", trusting(other), policy=POLICY)])
    other.token(dpop=key)
    text = given(other.token(dpop=key))["access_token"]
    proof = key.proof(token=text, htm="GET", htu=f"{AUDIENCE}/orders/7")
    answer = ask(site, (b"authorization", f"DPoP {text}".encode()), (b"dpop", proof.encode()))
    assert (answer.status, "dpop-nonce" in answer.headers) == (401, True)
    (record,) = site.records(answer.request_id)
    assert record["detail"]["private"]["reason"] == "the token is for another audience"


def test_a618_blocked_key_passes_no_gateway_and_a_blocked_directory_provisions_nobody(site: Installation) -> None:
    _, key = site.user("shop", policy=POLICY)
    directory = directory_of(site)

    def answers() -> list[Answer]:
        signed = site.signed(key, b"", "orders", method="GET", path="/orders/7", extra={"host": "orders.example"})
        return [ask(site, *signed), directory.send("GET", "Users")]

    assert [answer.status for answer in answers()] == [200, 200]
    for name in ("shop", "scim-entra"):
        block = {"subject": "principal", "value": f"arn:aws:iam::{ALPHA}:user/{name}", "block": True}
        assert api(site, "POST", "/revocations", block).status == 201
    refused = answers()
    assert [answer.status for answer in refused] == [403, 403]
    assert site.records(refused[0].request_id)[0]["error"] == "access_denied"


def test_other_account_needs_the_resource_policy_of_the_resource_server(site: Installation) -> None:
    allowed = document({"Action": "orders:Read", "Resource": "*"})
    _, key = site.user("bea", ROOT_OF_BETA, policy=allowed)

    def status() -> int:
        signed = site.signed(key, b"", "orders", method="GET", path="/orders/7", extra={"host": "orders.example"})
        return ask(site, *signed).status

    assert status() == 403
    statement = {"Effect": "Allow", "Principal": {"AWS": BETA}, "Action": "orders:Read", "Resource": "*"}
    register_orders(site, policy={"Version": "2012-10-17", "Statement": [statement]})
    assert status() == 200
    register_orders(site)


# --- TokenReview -----------------------------------------------------------------------------------------------------


def review(site: Installation, token: Any, audiences: Any = (AUDIENCE,), **changes: Any) -> Answer:
    spec = {"token": token, "audiences": audiences}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec, **changes}
    headers = [(b"content-type", b"application/json")]
    return site.send("POST", headers, json.dumps(body).encode(), path=b"/kubernetes/token-review")


def test_a591_token_review_accepts_what_a_bearer_token_for_the_cluster_proves_and_nothing_else(
    site: Installation, client: Client
) -> None:
    bearer_client = register(site, audiences=[AUDIENCE], fapi_exceptions=["bearer_tokens"])
    bearer_client.put(roles=[site.role("viewer", trusting(bearer_client), policy=POLICY)])
    text = given(bearer_client.token())["access_token"]
    good = json.loads(review(site, text, ["https://kubernetes.default.svc", AUDIENCE]).body)["status"]
    assert (good["authenticated"], good["audiences"]) == (True, [AUDIENCE])
    assert f"arn:aws:iam::{ALPHA}:role/viewer" in good["user"]["groups"]
    key = DpopKey(site)
    client.token(dpop=key)
    bound = given(client.token(dpop=key))["access_token"]
    other = register(site, audiences=["https://other.example"], fapi_exceptions=["bearer_tokens"])
    other.put(roles=[site.role("elsewhere", trusting(other), policy=POLICY)])
    for token, audiences in (
        (bound, [AUDIENCE]),  # it needs its key
        (given(other.token())["access_token"], [AUDIENCE]),
        (text, ["https://kubernetes.default.svc"]),
        (text, []),
        (f"{text}x", [AUDIENCE]),
        ("", [AUDIENCE]),
    ):
        answer = review(site, token, audiences)
        status = json.loads(answer.body)["status"]
        assert (answer.status, status["authenticated"], "user" in status) == (200, False, False)
        assert [record["operation"] for record in site.records(answer.request_id)] == ["daypass:ReviewToken"]
    body = {"subject": "role", "value": f"arn:aws:iam::{ALPHA}:role/viewer"}
    assert api(site, "POST", "/revocations", body).status == 201
    assert json.loads(review(site, text).body)["status"]["authenticated"] is False


def test_a593_invalid_tokens_that_are_sent_to_a_cluster_do_not_lock_its_users_out(tmp_path: Path) -> None:
    """All reviews come from the API server's address, whoever sent the tokens."""
    with authorization_server(tmp_path, rates={"failures_per_second": 0.01, "failures_burst": 6}) as strict:
        register_orders(strict)
        person = register(strict, audiences=[AUDIENCE], fapi_exceptions=["bearer_tokens"])
        person.put(roles=[strict.role("viewer", trusting(person), policy=POLICY)])
        text = given(person.token())["access_token"]
        for number in range(12):
            assert json.loads(review(strict, f"{text}{number}").body)["status"]["authenticated"] is False
        assert json.loads(review(strict, text).body)["status"]["authenticated"] is True


def test_a591_what_is_no_token_review_is_refused(site: Installation) -> None:
    for answer in (
        review(site, "x", [AUDIENCE] * 11),
        review(site, "x", None),
        review(site, 7),
        review(site, "x", apiVersion="authentication.k8s.io/v1beta1"),
        review(site, "x", kind="SubjectAccessReview"),
        review(site, "x", spec=[]),
    ):
        assert answer.status == 400, answer.body
