"""The Python library against a real server: botocore's plugin, held sessions, and authentication of requests and httpx."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, Server, running
from tests.e2e.test_agent import make_role

from daypass.client.auth import BearerAuth, DPoPAuth, DPoPKey, SigV4Auth, TokenSource
from daypass.client.boto import boto3_session, held_session, of_role
from daypass.client.errors import ClientError
from daypass.client.profiles import Profile, save
from daypass.client.verifier import InvalidToken, NotCurrent, Sent, Verifier, VerifierSettings

pytestmark = [pytest.mark.parametrize("server", ["sqlite"], indirect=True), pytest.mark.slow]
AUDIENCE = "https://orders.example"


@pytest.fixture
def issuing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Iterator[Server]:
    """A server that issues access tokens, and a profile for it."""
    monkeypatch.setenv("DAYPASS_HOME", str(tmp_path / "home"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with running(tmp_path / "data", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as started:
        save("default", Profile(started.url, *ADMIN_KEY))
        yield started


@pytest.fixture
def api() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An API that keeps the headers of its requests, and redirects from /away to another port."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            away = self.path.startswith("/away")
            self.send_response(302 if away else 200)
            if away:
                self.send_header("location", f"http://localhost:{self.server.server_port}/there")  # type: ignore[attr-defined]
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", seen
        listening.shutdown()


def test_boto3_session_of_a_role_renews_itself_and_a_held_session_too(issuing: Server) -> None:
    role = make_role(issuing)
    session = f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/"
    sts = boto3_session(role, region="eu-central-1").client("sts", endpoint_url=issuing.url)
    assert sts.get_caller_identity()["Arn"].startswith(session)
    with held_session(role, ceiling=900, session_name="etl") as held:
        mine = held.boto3("eu-central-1").client("sts", endpoint_url=issuing.url)
        assert mine.get_caller_identity()["Arn"] == f"{session}etl"
        assert held.renewals == 0
    with pytest.raises(ClientError, match="not authorized"), held_session("no-such-role", ceiling=900):
        pass


def test_requests_and_httpx_send_tokens_that_the_verifier_accepts(
    issuing: Server, api: tuple[str, list[dict[str, str]]]
) -> None:
    role = make_role(issuing)
    profile, provider, (url, seen) = Profile(issuing.url, *ADMIN_KEY), of_role(role), api
    tokens = TokenSource(profile, provider, AUDIENCE)
    requests.get(f"{url}/orders", auth=BearerAuth(url, tokens), timeout=30)

    async def with_httpx() -> None:
        assert await tokens.aget() == tokens.get()
        async with httpx2.AsyncClient(auth=BearerAuth(url, tokens)) as client:
            await client.get(f"{url}/orders")

    asyncio.run(with_httpx())
    assert seen[0]["authorization"] == seen[1]["authorization"] == f"Bearer {tokens.get()}"

    key = DPoPKey()
    bound = TokenSource(profile, provider, AUDIENCE, key=key)
    httpx2.get(f"{url}/orders?x=1", auth=DPoPAuth(url, bound, key))
    assert seen[2]["authorization"] == f"DPoP {bound.get()}"
    auth = DPoPAuth(url, bound, key)
    requests.get(f"{url}/away", auth=auth, timeout=30)
    assert (seen[4]["path"], "authorization" in seen[4] or "dpop" in seen[4]) == ("/there", False)
    for bad in ("ftp://x", "https://x/path", "x"):
        with pytest.raises(ValueError, match="https://host"):
            BearerAuth(bad, tokens)
    settings = VerifierSettings(issuing.url, AUDIENCE, Profile(issuing.url, *ROOT_KEYS[OPERATOR]), origin=url)
    verify_both(settings, tokens.get(), seen[2])


def verify_both(settings: VerifierSettings, bearer: str, sent: dict[str, str]) -> None:
    verifier = Verifier(settings).start()
    try:
        for _ in range(600):  # until it follows revocations; only a failure waits so long
            with suppress(NotCurrent):
                assert verifier.verify(bearer).subject
                break
            time.sleep(0.05)
        token = sent["authorization"].removeprefix("DPoP ")
        assert verifier.verify(token, Sent(dpop=True, proofs=(sent["dpop"],), method="GET", path=b"/orders"))
        with pytest.raises(InvalidToken):
            verifier.verify(token, Sent(dpop=True, proofs=(sent["dpop"],), method="POST", path=b"/orders"))
    finally:
        verifier.stop()


def test_requests_and_httpx_sign_calls_of_the_management_api(issuing: Server) -> None:
    admin = Profile(issuing.url, *ROOT_KEYS[OPERATOR])
    save("root", admin)
    role = make_role(issuing)
    iam = issuing.client("iam", ROOT_KEYS[OPERATOR])
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "daypass:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=json.dumps(policy))
    auth = SigV4Auth(issuing.url, of_role(role), "daypass")
    name = f"t-{secrets.token_hex(3)} ü"
    body: dict[str, Any] = {"url": f"{issuing.url}/api/v1/sessions", "params": {"limit": "3", "principal_id": name}}
    assert requests.get(**body, auth=auth, timeout=30).status_code == 200
    assert httpx2.get(**body, auth=auth).status_code == 200
    made = {"document": "{}"}
    for answer in (
        requests.post(f"{issuing.url}/api/v1/lint", json=made, auth=auth, timeout=30),
        httpx2.post(f"{issuing.url}/api/v1/lint", json=made, auth=auth),
    ):
        assert answer.status_code not in (401, 403), answer.text
    with pytest.raises(TypeError, match="must be bytes"):
        requests.post(f"{issuing.url}/api/v1/lint", data=iter([b"a"]), auth=auth, timeout=30)
