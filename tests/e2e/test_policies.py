"""Decisions of a verifier by a policy bundle and by AuthZEN, against a running server, and the page's examples of frameworks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running
from tests.issuer import Issuer
from tests.oauth import EXCHANGE, ID_TOKEN

from daypass.client import Profile
from daypass.client.http import Connection, post_form
from daypass.client.verifier import InvalidToken, NotCurrent, Verified, Verifier, VerifierSettings
from daypass.client.verifier.policy import Policies, RefusedBundle

PAGE = Path(__file__).parents[2] / "docs/how-to/protect-an-api.md"
AUDIENCE = "https://orders.example"
ORDERS = f"arn:aws:orders::{OPERATOR}:"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


class World:
    """A server, a provider whose people assume a role, and a verifier of the service."""

    def __init__(self, server: Server) -> None:
        self.server, self.iam = server, server.client("iam", ADMIN_KEY)
        self.issuer = issuer = Issuer("idp.example.com", "ES256")
        made = self.iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["daypass"])
        settings = {"settings": {"static_jwks": json.dumps(issuer.jwks())}}
        server.api("PUT", f"/providers/oidc/{issuer.url}/settings", body=settings)
        principal = {"Federated": made["OpenIDConnectProviderArn"]}
        condition = {"StringEquals": {f"{issuer.url}:aud": "daypass"}}
        trust = document({"Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition})
        self.role = self.iam.create_role(RoleName="orders", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        self.put(document({"Action": "orders:Read", "Resource": ORDERS + "order/*"}))
        narrow = json.loads(document({"Action": "orders:Read", "Resource": ORDERS + "order/1"}))
        scopes = {"all": {}, "first": {"policy": narrow}}
        body = {"name": "orders", "settings": {"scopes": scopes, "default_scopes": ["all"]}}
        server.api("PUT", "/resource-servers/https%3A%2F%2Forders.example", body=body)
        self.iam.create_user(UserName="service")
        allowed = ["daypass:FollowRevocations", "daypass:GetPolicyBundle", "daypass:EvaluateAccess"]
        self.iam.put_user_policy(UserName="service", PolicyName="p", PolicyDocument=document({"Action": allowed, "Resource": f"arn:aws:daypass::{OPERATOR}:*"}))  # fmt: skip
        key = self.iam.create_access_key(UserName="service")["AccessKey"]
        self.profile = Profile(server.url, key["AccessKeyId"], key["SecretAccessKey"], "", "eu-central-1")
        self.verifier = Verifier(VerifierSettings(server.url, AUDIENCE, self.profile)).start()
        until(lambda: self.verifier.age() < 5)

    def put(self, policy: str, name: str = "p") -> None:
        token = json.loads(policy)
        token["Statement"].append({"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"})
        self.iam.put_role_policy(RoleName="orders", PolicyName=name, PolicyDocument=json.dumps(token))

    def text(self, scope: str = "all") -> str:
        return self.text_for(AUDIENCE, scope)

    def text_for(self, audience: str, scope: str = "") -> str:
        subject = self.issuer.token(int(time.time() * 1000), sub="ann")
        asked = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": ID_TOKEN, "role": self.role,
                 "audience": audience, "scope": scope}  # fmt: skip
        return str(json.loads(post_form(self.server.url, "/oauth2/token", asked).body)["access_token"])

    def token(self, scope: str = "all") -> Verified:
        return self.verifier.verify(self.text(scope))

    def bundle(self, service: str = "orders", known: str = "") -> Any:
        return Connection(self.profile).api("GET", "/access/policy-bundle", {"service": service, "known": known})


def until(condition: Any) -> None:
    for _ in range(3_000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("policies"), environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        made = World(server)
        yield made
        made.verifier.stop()


@pytest.fixture
def local(world: World) -> Policies:
    """Policies with a bundle, which may not ask the server."""
    made = Policies(world.verifier, "orders")
    made.update()
    return made


def never(*_: Any) -> bool:
    raise AssertionError("the server was asked")


def test_bundle_and_server_decide_alike(world: World, local: Policies, monkeypatch: pytest.MonkeyPatch) -> None:
    remote, whole, first = Policies(world.verifier, "orders"), world.token(), world.token("first")
    asked = [(token, action, resource) for token in (whole, first) for action in ("orders:Read", "orders:Write")
             for resource in ("order/1", "order/2", "invoice/1")]  # fmt: skip
    expected = [remote.allows(*one) for one in asked]
    assert expected == [True, True, False, *[False] * 3, True, False, False, *[False] * 3]
    monkeypatch.setattr(local, "_ask", never)
    assert [local.allows(*one) for one in asked] == expected


def test_a534_what_the_bundle_cannot_know_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition on the time, another service, another account: the server decides."""
    later = {"DateLessThan": {"aws:CurrentTime": "2000-01-01T00:00:00Z"}}
    world.put(document({"Action": "orders:Cancel", "Resource": "*", "Condition": later}), "timed")
    try:
        policies, token, seen = Policies(world.verifier, "orders"), world.token(), []
        policies.update()
        monkeypatch.setattr(policies, "_ask", lambda _, action, resource: seen.append((action, resource)))
        policies.allows(token, "orders:Cancel", "order/1")
        policies.allows(token, "invoices:Read", "order/1")
        policies.allows(token, "orders:Read", "arn:aws:orders::444455556666:order/1")
        assert [action for action, _ in seen] == ["orders:Cancel", "invoices:Read", "orders:Read"]
        monkeypatch.undo()
        assert policies.allows(token, "orders:Cancel", "order/1") is False
    finally:
        world.iam.delete_role_policy(RoleName="orders", PolicyName="timed")


@pytest.mark.slow
def test_change_and_revocation_arrive_by_themselves(world: World) -> None:
    policies = Policies(world.verifier, "orders").start()
    try:
        text = world.text()
        token = world.verifier.verify(text)
        until(lambda: policies._set is not None)
        assert not policies.allows(token, "orders:Refund", "order/1")
        world.put(document({"Action": "orders:Refund", "Resource": "*"}), "more")
        until(lambda: policies.allows(token, "orders:Refund", "order/1"))
        known = "".join(digest[:8] for digest in policies._set.signed.digests)
        assert len(world.bundle(known=known)["buckets"]) == 0
        world.iam.delete_role_policy(RoleName="orders", PolicyName="more")
        until(lambda: not policies.allows(token, "orders:Refund", "order/1"))
        assert len(world.bundle(known=known)["buckets"]) == 1  # of 64
        world.server.api("POST", "/revocations", body={"subject": "session", "value": token.session["id"]})

        def is_refused() -> bool:
            try:
                world.verifier.verify(text)
            except InvalidToken:
                return True
            return False

        until(is_refused)
    finally:
        policies.stop()


def test_a533_altered_foreign_and_old_bundles_are_refused(world: World) -> None:
    policies = Policies(world.verifier, "orders")
    old = world.bundle()
    full = next(number for number, text in old["buckets"].items() if '"orders"' in text)
    digest = next(digest for digest, text in old["policies"].items() if "orders:Read" in text)
    wide = old["policies"][digest].replace("orders:Read", "orders:*")
    head, body, signature = old["signed"].split(".")
    refused = {
        "bucket": {**old, "buckets": {**old["buckets"], full: old["buckets"][full].replace("orders", "other")}},
        "bucket that is missing": {**old, "buckets": {n: t for n, t in old["buckets"].items() if n != full}},
        "policy": {**old, "policies": {**old["policies"], digest: wide}},
        "policy that is missing": {**old, "policies": {}},
        "signature": {**old, "signed": f"{head}.{body}.{signature[:-4]}AAAA"},
        "content": {**old, "signed": f"{head}.{body[:-2]}AA.{signature}"},
        "type": {**old, "signed": world.text()},
        "service": world.bundle("invoices"),
        "nothing": {},
    }
    for name, answer in refused.items():
        with pytest.raises(RefusedBundle):
            policies.accept(answer, world.verifier.monotonic())
            pytest.fail(name)
        assert policies._set is None
    world.iam.tag_role(RoleName="orders", Tags=[{"Key": "a", "Value": "b"}])
    policies.accept(world.bundle(), world.verifier.monotonic())
    with pytest.raises(RefusedBundle, match="older"):
        policies.accept(old, world.verifier.monotonic())
    foreign = Policies(Verifier(VerifierSettings("https://other.example", AUDIENCE, world.profile)), "orders")
    with pytest.raises(RefusedBundle, match="issuer"):
        foreign.accept(world.bundle(), 0.0)


def test_bundle_that_is_too_old_does_not_decide(world: World, local: Policies, monkeypatch: pytest.MonkeyPatch) -> None:
    token = world.token()
    local._confirmed -= 31

    def gone(*_: Any) -> Connection:
        return Connection(Profile("http://127.0.0.1:1", "AKIAX", "x", "", "eu-central-1"), deadline=0.5)

    monkeypatch.setattr(local, "_connection", gone)
    with pytest.raises(NotCurrent):
        local.allows(token, "orders:Read", "order/1")


def blocks() -> list[str]:
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [code for code in found if "guard." in code]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastapi", "flask", "django"])
def test_example_of_each_framework_serves_what_policies_allow(world: World, local: Policies, name: str) -> None:
    code = "\n".join(each for each in blocks() if f"from {name}" in each)
    names: dict[str, Any] = {"verifier": world.verifier, "policies": local, "__name__": "example"}
    if name == "django":
        from django.conf import settings

        settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
    exec(code, names)  # our own page
    globals()["urlpatterns"] = names.get("urlpatterns", [])
    headers = {"Authorization": f"Bearer {world.text('first')}"}
    if name == "fastapi":
        from starlette.testclient import TestClient

        client = TestClient(names["app"])
        got = [client.get(f"/orders/{n}", headers=h).status_code for n, h in ((1, headers), (2, headers), (1, {}))]
        reader = client.get("/orders/1/reader", headers=headers).json()
        assert reader == {"order": "1", "reader": world.verifier.verify(world.text("first")).subject}
        assert client.get("/orders/2/reader", headers=headers).status_code == 403
    else:
        from werkzeug.test import Client

        web = Client(names["application"] if name == "django" else names["app"])
        with closing(web.get("/orders/1", headers=headers)) as answer:
            assert answer.json == {"order": "1"}
        got = [web.get(f"/orders/{n}", headers=h).status_code for n, h in ((1, headers), (2, headers), (1, {}))]
    assert got == [200, 403, 401]
