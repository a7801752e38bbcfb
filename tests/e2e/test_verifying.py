"""The verifier of another service against a running server with two processes: the page's example, and revocation."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running
from tests.issuer import Issuer
from tests.oauth import EXCHANGE, ID_TOKEN

from daypass.client.http import post_form
from daypass.client.verifier import NotCurrent, Verifier

PAGE = Path(__file__).parents[2] / "docs/how-to/protect-an-api.md"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class World:
    """A server, a provider whose users may assume a role, and a principal that may follow revocations."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.issuer = issuer = Issuer("idp.example.com", "ES256")
        iam = server.client("iam", ADMIN_KEY)
        made = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["daypass"])
        settings = {"settings": {"static_jwks": json.dumps(issuer.jwks())}}
        server.api("PUT", f"/providers/oidc/{issuer.url}/settings", body=settings)
        principal = {"Federated": made["OpenIDConnectProviderArn"]}
        condition = {"StringEquals": {f"{issuer.url}:aud": "daypass"}}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]})
        self.role = iam.create_role(RoleName="orders", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.create_user(UserName="verifier")
        documents = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
        policy = next(document for document in documents if "daypass:FollowRevocations" in document)
        iam.put_user_policy(UserName="verifier", PolicyName="p", PolicyDocument=policy)
        key = iam.create_access_key(UserName="verifier")["AccessKey"]
        self.key = key["AccessKeyId"], key["SecretAccessKey"]

    def token(self) -> str:
        """An access token of a person for the page's service."""
        subject = self.issuer.token(int(time.time() * 1000), sub="ann")
        asked = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": ID_TOKEN, "role": self.role,
                 "audience": "https://orders.example", "scope": "orders.read"}  # fmt: skip
        return str(json.loads(post_form(self.server.url, "/oauth2/token", asked).body)["access_token"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("verify"), "--workers", "2", environment=environment) as server:
        yield World(server)


@contextmanager
def example(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Verifier]]:
    """The page's example, served: its address and its verifier."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.key[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", world.key[1])
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(code.replace("https://daypass.example.com", world.server.url), names)  # our own page
    verifier: Verifier = names["verifier"]
    httpd = make_server("127.0.0.1", 0, names["application"], handler_class=Quiet)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/", verifier
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
        verifier.stop()


@pytest.mark.slow
async def test_example_of_the_page_with_fastapi_serves_a_token_and_refuses_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    with example(world, monkeypatch) as (_, verifier):
        names: dict[str, Any] = {"verifier": verifier}
        exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], names)  # our own page
        client = TestClient(names["app"])
        assert client.get("/orders").status_code == 401
        served = client.get("/orders", headers={"Authorization": f"Bearer {world.token()}"})
        assert (served.status_code, served.json()["hello"][:4]) == (200, "AROA")


def until(condition: Any) -> None:
    """Waits for a condition, as long as a busy machine may take."""
    for _ in range(6_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def status(url: str, token: str) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.read().startswith(b"hello AROA")
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.slow
def test_example_of_the_page_refuses_a_revoked_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token, other = world.token(), world.token()
    with example(world, monkeypatch) as (url, verifier):
        until(lambda: verifier.age() < 5)
        assert (status(url, token), status(url, other), status(url, "x")) == (200, 200, 401)
        session = verifier.verify(token).session["id"]
        made = world.server.api("POST", "/revocations", body={"subject": "session", "value": session})
        assert made["sessions_ended"] == 1
        until(lambda: status(url, token) == 401)
        assert status(url, other) == 200
        world.server.api("POST", "/revocations", body={"subject": "role", "value": world.role})
        until(lambda: status(url, other) == 401)


@pytest.mark.slow
def test_verifier_fails_closed_without_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path, environment=environment) as server:
        world = World(server)
        token = world.token()
        with example(world, monkeypatch) as (_, verifier):
            until(lambda: verifier.age() < 5)
            assert verifier.verify(token).session["account"] == OPERATOR
            server.process.terminate()
            server.process.wait(120)
            until(lambda: verifier.age() > 5)
            with pytest.raises(NotCurrent):
                verifier.verify(token)
